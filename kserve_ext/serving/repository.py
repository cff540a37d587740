"""KServe's model repository with load and unload that can be undone: an unloaded predictor is kept, and loads again."""

from __future__ import annotations

from collections.abc import Mapping

import kserve

from kserve_ext.serving.health import State
from kserve_ext.serving.model import PredictorModel
from kserve_ext.serving.served import Served


class Repository(kserve.ModelRepository):  # type: ignore[misc]
    """The models of one server; KServe's extension asks it to load and unload."""

    def served(self) -> Mapping[str, Served]:
        """Our predictors by name, unloaded ones too."""
        return {name: model.served for name, model in self.models.items() if isinstance(model, PredictorModel)}

    def find(self, name: str) -> Served | None:
        """The predictor with that name, None for another kind of model or none at all."""
        model = self.models.get(name)
        return model.served if type(model) is PredictorModel else None  # isinstance of an ABC costs more, each time

    async def load(self, name: str) -> bool:
        """Load again, or at once where it is loaded. Raises KeyError for an unknown name, and what `load` raised."""
        model = self.models[name]
        if not isinstance(model, PredictorModel):
            return bool(model.load())
        if model.served.engine.state in (State.UNLOADED, State.FAILED):
            await model.served.engine.start()
        return True

    def unload(self, name: str) -> None:
        """Raises KeyError for an unknown name."""
        model = self.models[name]
        if isinstance(model, PredictorModel):
            model.stop()
        else:
            super().unload(name)
