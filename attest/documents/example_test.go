package documents_test

import (
	"fmt"

	"github.com/mlseal/mlseal/attest/documents"
)

// The front matter of a card, under the names that policies use.
func ExampleParseCard() {
	card, err := documents.ParseCard([]byte("---\nlicense: apache-2.0\nbase_model: org/base\n---\n# A model\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(card.Fields["license"], card.Fields["baseModel"])
	// Output: apache-2.0 org/base
}
