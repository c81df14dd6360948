// Package brief shortens lists for messages.
package brief

import (
	"fmt"
	"strings"
)

// List names the first of many: at most most of them, and how many more there are.
func List(names []string, most int) string {
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
