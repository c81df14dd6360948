# Reads an Argo Workflow, as JSON from standard input, into the models that hera generates from Argo's own schema. They ignore fields that they do
# not know, so what they give back is compared with what they got: a field or value that is lost is an error.
import json
import sys

from hera.workflows.models import Workflow


def lost(given, kept, path):
    if isinstance(given, dict) and isinstance(kept, dict):
        for name in given:
            if name in kept:
                yield from lost(given[name], kept[name], f"{path}.{name}")
            else:
                yield f"{path}.{name}"
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for i, (a, b) in enumerate(zip(given, kept)):
            yield from lost(a, b, f"{path}[{i}]")
    elif given != kept:
        yield f"{path}: {given!r} became {kept!r}"


document = json.load(sys.stdin)
workflow = Workflow.model_validate(document)
kept = json.loads(workflow.model_dump_json(by_alias=True, exclude_none=True))
problems = list(lost(document, kept, "workflow"))
print("\n".join(problems) or "ok")
sys.exit(bool(problems))
