package aibom_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/mlseal/mlseal/verify/aibom"
)

// Of a model about which nobody said anything a document has its name and its digest.
func ExampleNew() {
	d := aibom.New(aibom.Artifact{Name: "bot", Digests: map[string]string{"sha256": strings.Repeat("a", 64)}},
		aibom.Options{Version: "0.1.0", Time: time.Unix(0, 0)})
	bom, err := d.CycloneDX()
	if err != nil {
		fmt.Println(err)
		return
	}
	_, component, _ := strings.Cut(string(bom), `"component": `)
	fmt.Print(component)
	// Output:
	// {
	//       "bom-ref": "artifact",
	//       "type": "machine-learning-model",
	//       "name": "bot",
	//       "hashes": [
	//         {
	//           "alg": "SHA-256",
	//           "content": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	//         }
	//       ]
	//     }
	//   }
	// }
}
