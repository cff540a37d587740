#!/bin/bash
# An OCI runtime for machines whose own bounding set lacks a capability (some virtual machines withhold CAP_SYS_RESOURCE):
# `docker run --privileged` asks for all of them, and runc refuses what cannot be given. Takes the names in missing.json,
# beside this file, out of the container's config.json and of exec's process.json, then lets runc do the rest.
spec= previous=
for argument in "$@"; do
  case $previous in
    --bundle | -b) spec=$argument/config.json ;;
    --process | -p) spec=$argument ;;
  esac
  case $argument in
    --bundle=*) spec=${argument#*=}/config.json ;;
    --process=*) spec=${argument#*=} ;;
  esac
  previous=$argument
done
if [ -f "$spec" ]; then
  edited=$(mktemp) && jq -c --slurpfile missing "$(dirname "$0")/missing.json" '
    def without: if .capabilities then .capabilities |= map_values(. - $missing[0]) else . end;
    without | if .process then .process |= without else . end' "$spec" >"$edited" && cat "$edited" >"$spec"
  rm -f "$edited"
fi
exec runc "$@"
