"""Rules about ensembles: the steps are there, take the batch, and are wired to tensors that exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kserve_ext.lint.config import Config
from kserve_ext.lint.finding import Hit, Severity
from kserve_ext.lint.finding import rule as make
from kserve_ext.lint.project import Project, repository_of
from kserve_ext.lint.subjects import readable_configs
from kserve_ext.render.pbtxt import is_ensemble


@dataclass(frozen=True, kw_only=True, eq=False)
class Ensemble:
    """An ensemble and the configs of the models beside it."""

    config: Config
    models: Mapping[str, Config]

    def steps(self) -> Iterator[tuple[str, str, Config | None]]:
        """Each step: its path, the model's name, and the model's config where it is given."""
        for index, step in enumerate(self.config.message.ensemble_scheduling.step):
            path = "ensemble_scheduling.step" + (f"[{index}]" if index else "")
            yield path, step.model_name, self.models.get(step.model_name)


def _ensembles(project: Project) -> Iterator[Ensemble]:
    for config in readable_configs(project):
        if is_ensemble(config.message):
            here = repository_of(config)
            models = {name: found for (repository, name), found in project.models.items() if repository == here}
            yield Ensemble(config=config, models=models)


@make(
    "KX440", "step-missing", Severity.ERROR, _ensembles,
    what="An ensemble step whose model is not in the repository.",
    leave="The ensemble does not load.",
    remedy="add the model's folder, or correct model_name",
)  # fmt: skip
def step_missing(ensemble: Ensemble) -> Iterator[Hit]:
    if len(ensemble.models) < 2:  # the ensemble alone: the others were not given
        return
    for path, name, found in ensemble.steps():
        if found is None and name:
            known = ", ".join(sorted(set(ensemble.models) - {ensemble.config.model}))
            yield ensemble.config.hit(
                f"no model {name} in the repository; there are {known}", f"{path}.model_name", path
            )


@make(
    "KX441", "step-takes-less", Severity.ERROR, _ensembles,
    what="An ensemble whose max_batch_size is above that of a step.",
    leave="Triton refuses the ensemble: a request that it admits would be too large for the step.",
    remedy="lower the ensemble's max_batch_size, or raise the step's",
)  # fmt: skip
def step_takes_less(ensemble: Ensemble) -> Iterator[Hit]:
    most = ensemble.config.message.max_batch_size
    for path, name, found in ensemble.steps():
        if found is not None and found.fault is None and not is_ensemble(found.message):
            takes = found.message.max_batch_size
            if takes < most:
                yield ensemble.config.hit(
                    f"max_batch_size {most}, and step {name} takes {takes}", "max_batch_size", path
                )


@make(
    "KX442", "step-tensors", Severity.ERROR, _ensembles,
    what="An input_map or output_map that names a tensor which the step's model does not have, or a tensor that nothing "
    "produces.",
    leave="The ensemble does not load.",
    remedy="the keys are tensors of the step, the values are names inside the ensemble",
)  # fmt: skip
def step_tensors(ensemble: Ensemble) -> Iterator[Hit]:
    message = ensemble.config.message
    made = {tensor.name for tensor in message.input}
    made |= {value for step in message.ensemble_scheduling.step for value in step.output_map.values()}
    for (path, name, found), step in zip(ensemble.steps(), message.ensemble_scheduling.step, strict=True):
        for side, mapped in (("input", step.input_map), ("output", step.output_map)):
            known = {tensor.name for tensor in getattr(found.message, side)} if found else set()
            for key in sorted(mapped):
                if known and key not in known:
                    yield ensemble.config.hit(
                        f"step {name} has no {side} {key}; it has {', '.join(sorted(known))}",
                        f"{path}.{side}_map",
                        path,
                    )
        for value in sorted(set(step.input_map.values()) - made) if message.input else ():
            yield ensemble.config.hit(f"nothing produces {value}, which step {name} takes", f"{path}.input_map", path)
    for tensor in message.output:
        if tensor.name not in made and message.ensemble_scheduling.step:
            yield ensemble.config.hit(f"no step produces the output {tensor.name}", "output")


RULES = (step_missing, step_takes_less, step_tensors)
