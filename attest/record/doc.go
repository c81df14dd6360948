// Package record runs one step of a pipeline, such as a fine-tune, and records what went in, what came out and how: the materials by
// their digests before the command ran, the products after it, the command line, the git commit, the machine and the Python packages.
//
// Run does it and returns a Record, which says nothing of a format: Record.Provenance makes SLSA provenance v1 of it, and other
// statements can be made of the same value. Nothing here signs, and no network is used.
//
// What is recorded is what this process saw. It does not see whether the command read the materials, or anything else beside them, and
// the environment can tell it anything about who builds. Secrets are masked as far as they can be told (Mask).
//
// # Materials
//
// A directory or file is hashed before the command starts: every byte is read, no remembered digest is taken. After the command the
// state of each file (size, modification and change time, inode) is compared, and those in another state, or written less than two
// seconds before they were read, are read again. What is another tree by then fails with manifest.ErrChanged. On file systems
// without such times and numbers everything is read again.
//
// # Digests
//
// A package is named by its image manifest's sha256 and the tree's dirHash in one set, a directory by its dirHash, so that a statement about
// the package as well as one about its directory is found by the next step's lineage. A single file that is an artifact (a base model in one
// file) has the dirHash of the tree of that file, as `attest` names it; its own sha256 is in the annotation mlseal_fileDigest. Code,
// configuration and the list of packages are no artifacts that statements are about: those files have their sha256.
package record
