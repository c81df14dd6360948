// Package library holds the policies that come with mlseal. They are starting points: copy one,
// put a key beside it, and change it.
package library

import "embed"

// Files are the policies, each a YAML file at the root.
//
//go:embed *.yaml
var Files embed.FS
