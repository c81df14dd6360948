package hub_test

import (
	"fmt"

	"github.com/mlseal/mlseal/manifest/hub"
)

func ExampleParseReference() {
	ref, err := hub.ParseReference("hf://datasets/acme/corpus@v1.0")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(ref.Kind, ref.Repository, ref.Revision)
	// Output: dataset acme/corpus v1.0
}
