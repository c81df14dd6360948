//go:build interop

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mlseal/mlseal/internal/testenv"
)

// readBOM lets CycloneDX's Python library validate and read a document of 1.7, and the classes that SPDX makes of its model read one of 3.0.1: they
// refuse unknown classes, properties and values, and what a class must have and lacks.
const readBOM = `
import json, sys
form, path = sys.argv[1:]
if form == "cdx":
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator
    from cyclonedx.model.bom import Bom
    with open(path) as f:
        text = f.read()
    wrong = JsonStrictValidator(SchemaVersion.V1_7).validate_str(text)
    if wrong is not None:
        sys.exit(str(wrong))
    bom = Bom.from_json(json.loads(text))
    print("component", bom.metadata.component.name, "and", len(bom.components), "more")
else:
    from spdx_python_model import v3_0_1 as spdx
    objects = spdx.SHACLObjectSet()
    with open(path, "rb") as f:
        spdx.JSONLDDeserializer().read(f, objects)
    missing = objects.link()
    if missing:
        sys.exit("refers to what is not there: " + str(missing))
    (document,) = objects.foreach_type(spdx.SpdxDocument)
    (artifact,) = document.rootElement
    print("package", artifact.name, "and", len(document.element), "elements")
`

// TestInteropAIBOM: the official libraries of both formats read what mlseal writes, and refuse what is changed in it.
func TestInteropAIBOM(t *testing.T) {
	python := peer(t, "BOM")
	root := testenv.Root(t)
	read := func(form, file string) ([]byte, error) {
		return exec.Command(python, "-c", readBOM, form, file).CombinedOutput()
	}
	for form, changes := range map[string][][2]string{
		"cdx":  {{`"machine-learning-model"`, `"model"`}, {`"slice"`, `"dataset"`}, {`"acknowledgement"`, `"said"`}},
		"spdx": {{`"trainedOn"`, `"trainedWith"`}, {`"ai_AIPackage"`, `"ai_Model"`}, {`"ai_metric"`, `"ai_metrics"`}, {`#artifact-0"`, `#artifact-9999"`}},
	} {
		files, err := filepath.Glob(filepath.Join(root, "verify", "aibom", "testdata", "*."+form+".json"))
		if err != nil || len(files) < 3 {
			t.Fatalf("no documents (%v)", err)
		}
		langid := filepath.Join(root, "cmd", "mlseal", "testdata", "aibom", "langid."+form+".json")
		for _, file := range append(files, langid) {
			if out, err := read(form, file); err != nil || !strings.Contains(string(out), "and") {
				t.Errorf("%s: %v\n%s", file, err, out)
			} else {
				t.Logf("%s: %s", filepath.Base(file), out)
			}
		}
		text, err := os.ReadFile(langid)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range changes {
			changed := bytes.Replace(text, []byte(c[0]), []byte(c[1]), 1)
			file := filepath.Join(t.TempDir(), "changed.json")
			if err := os.WriteFile(file, changed, 0o600); err != nil || bytes.Equal(text, changed) {
				t.Fatalf("%s is not there (%v)", c[0], err)
			}
			if out, err := read(form, file); err == nil {
				t.Errorf("%s: %s instead of %s is read: %s", form, c[1], c[0], out)
			}
		}
	}
}
