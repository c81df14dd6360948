package main

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/attest/compose"
	"github.com/mlseal/mlseal/attest/documents"
	"github.com/mlseal/mlseal/attest/evaluation"
	"github.com/mlseal/mlseal/attest/record"
	"github.com/mlseal/mlseal/attest/signer"
	"github.com/mlseal/mlseal/internal/atomicfile"
	"github.com/mlseal/mlseal/internal/strictjson"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/hfcache"
	"github.com/mlseal/mlseal/manifest/hub"
	"github.com/mlseal/mlseal/manifest/mount"
	"github.com/mlseal/mlseal/manifest/objectstore"
	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/mlseal/mlseal/manifest/origin"
	"github.com/mlseal/mlseal/manifest/parts"
	"github.com/mlseal/mlseal/manifest/reader"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/policies/library"
	"github.com/mlseal/mlseal/policies/memory"
	"github.com/mlseal/mlseal/policies/policytest"
	"github.com/mlseal/mlseal/policies/starter"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/layout"
	"github.com/spf13/cobra"
)

// The exit statuses. Everything but statusDone stops a deployment.
const (
	statusDone        = 0
	statusNo          = 1
	statusUsage       = 2
	statusNotDecided  = 3
	statusBug         = 4
	exitStatusExplain = `Exit status of every mlseal command:

  0  done; for a gate: allowed, or denied with --audit
  1  a check finished and the answer is no
     (wrong digest, untrusted signer, missing statement, malformed bundle, a file that cannot be signed)
  2  the command line or the policy document is wrong
     (unknown flag, no such path, wrong password, unknown policy field, empty requirement list)
  3  no decision could be reached
     (registry down, no Sigstore trusted root, file not readable, disk full, cancelled),
     or it is yes and a report could not be written, signed or attached
  4  a bug in mlseal

attest record ends with the status of the command that it ran when that fails, 128 and the signal's number when a signal
ended it, 126 when it cannot be started and 127 when it is not there; its --report says whose status it is.

Everything but 0 stops a deployment. Hostile input gives 1, never 3: whoever makes it does not get to
pick the softer status.
`
)

// usageError marks what is wrong with the command line. It is general when cobra found it, before a command
// began: then the next step is the help.
type usageError struct {
	error
	general bool
}

// usage makes an error about the command line, from within a command.
func usage(err error) error { return usageError{error: err} }

// missing makes an error about something that the command line named and that is not there.
func missing(err error) error {
	if errors.Is(err, oci.ErrNotFound) {
		return usage(err)
	}
	return err
}

func (e usageError) Unwrap() error { return e.error }

// reportedError marks a no that a report on stdout has explained already.
type reportedError struct{ error }

func (e reportedError) Unwrap() error { return e.error }

// undeliveredError marks that the answer is yes, and that what was asked to be done with it could not be done.
type undeliveredError struct{ error }

func (e undeliveredError) Unwrap() error { return e.error }

// unsignedError marks that a recorded command succeeded, and that no statement about it could be made. What would have been signed is in a file.
type unsignedError struct {
	error
	file, next string // the next command
}

func (e unsignedError) Unwrap() error { return e.error }

// ranError marks what went wrong after a recorded command ended well. The command line was right when it began.
type ranError struct{ error }

func (e ranError) Unwrap() error { return e.error }

// wrongCommandLine are the errors about what the command line or the policy says.
var wrongCommandLine = []error{
	atomicfile.ErrExists,
	compose.ErrAnswer, compose.ErrMissing,
	hub.ErrEndpoint, hub.ErrNotFound, hub.ErrReference,
	layout.ErrKey,
	library.ErrTemplate, starter.ErrAnswer,
	memory.ErrMisplaced, memory.ErrRollback,
	objectstore.ErrBuiltWithout, objectstore.ErrNothing, objectstore.ErrPlainHTTP, objectstore.ErrURL,
	oci.ErrCertificates, oci.ErrCredentials, oci.ErrPattern, oci.ErrReadOnly, oci.ErrReference, errUnpinned,
	parts.ErrPlan,
	policies.ErrPolicy, policytest.ErrFixture, policytest.ErrSuite,
	record.ErrStep,
	signer.ErrCertificate, signer.ErrKey, signer.ErrPINNeeded, signer.ErrPassword, signer.ErrPasswordNeeded, signer.ErrServiceURL, signer.ErrSigningConfig, signer.ErrToken,
	verify.ErrAuthority, verify.ErrKey, verify.ErrNoIdentity, verify.ErrRoot,
}

// refusals are the errors that say no, beside those of package manifest.
var refusals = []error{
	attest.ErrBundle, attest.ErrOMS, attest.ErrPredicate, attest.ErrStatement,
	documents.ErrDocument, evaluation.ErrReport, record.ErrProduct,
	hfcache.ErrLink, hub.ErrAnswer, hub.ErrLimit, objectstore.ErrListing, origin.ErrMismatch, origin.ErrPointer,
	oci.ErrContent, oci.ErrExtra, oci.ErrLimit, oci.ErrManifest, oci.ErrNotLayout, oci.ErrNotPackage, oci.ErrNotPolicy, oci.ErrReferred,
	oci.ErrNotFound, // of something that a package said is there: what the command line named is a usageError
	parts.ErrDocument, parts.ErrParts, manifest.ErrAssembly, manifest.ErrMismatch,
	policies.ErrDenied, errPolicyTest, errWarnings, errDiffers,
	strictjson.ErrAmbiguous, strictjson.ErrLimit, strictjson.ErrSyntax,
	reader.ErrMismatch, verify.ErrContent, verify.ErrFailed, verify.ErrLimit, errMixed, errTooLarge,
}

// exitStatus is the one switch from errors to exit statuses.
func exitStatus(err error) int {
	var onUsage usageError
	var undelivered undeliveredError
	var onPolicy *verify.PolicyError
	var command *record.CommandError
	var ran ranError
	var ofCommand commandError
	switch {
	case err == nil:
		return statusDone
	case errors.As(err, &command):
		return command.Status
	case errors.As(err, &ofCommand):
		return ofCommand.status
	case errors.As(err, &ran):
		if status := exitStatus(ran.error); status != statusUsage {
			return status
		}
		return statusNotDecided
	case errors.As(err, &undelivered):
		return statusNotDecided // whatever stood in the way
	case isAny(err, memory.ErrUnreadable):
		return statusNotDecided // whatever makes it so
	case errors.As(err, &onUsage), errors.As(err, &onPolicy), isAny(err, wrongCommandLine...):
		return statusUsage
	case manifest.IsRefusal(err), isAny(err, refusals...):
		return statusNo
	}
	return statusNotDecided
}

func isAny(err error, targets ...error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// hintFor names the next step where there is a good one.
func hintFor(err error) string {
	var onUsage usageError
	var undelivered undeliveredError
	var onPolicy *verify.PolicyError
	var command *record.CommandError
	var unsigned unsignedError
	switch {
	case errors.As(err, &command):
		return "" // the command has said itself what is wrong
	case errors.As(err, &unsigned):
		return "the command succeeded; what would have been signed is in " + unsigned.file + ": " + unsigned.next
	case errors.As(err, &undelivered):
		return "the decision stands; mend what is named and run the command again"
	case isAny(err, signer.ErrPINNeeded):
		return "set MLSEAL_PIN (or COSIGN_PKCS11_PIN), or run on a terminal to be asked"
	case isAny(err, signer.ErrPIN):
		return "check MLSEAL_PIN, or pin-value in the URI; a token locks itself after a few wrong PINs"
	case isAny(err, signer.ErrPasswordNeeded):
		return "set MLSEAL_PASSWORD (or COSIGN_PASSWORD), or run on a terminal to be asked"
	case isAny(err, signer.ErrPassword):
		return "check MLSEAL_PASSWORD; an empty password is a password too"
	case isAny(err, origin.ErrPointer):
		return "fetch the file first: `git lfs pull` in the clone"
	case isAny(err, origin.ErrMismatch):
		return "what is there was altered or cut off; get it again from where it comes from"
	case isAny(err, hfcache.ErrLink):
		return "download the snapshot again (`hf download`), or copy its files into a directory of their own (cp -rL)"
	case isAny(err, objectstore.ErrURL):
		return "write s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or azblob://CONTAINER/PREFIX, with parameters behind a `?` (docs/object-stores.md)"
	case isAny(err, objectstore.ErrBuiltWithout):
		return "run a build without the tag noobjectstore (`make build`), or bring the files to this machine"
	case isAny(err, objectstore.ErrPlainHTTP):
		return "use https, or --plain-http when the network between is your own"
	case isAny(err, objectstore.ErrNothing):
		return "a prefix is a folder: s3://BUCKET/llm holds s3://BUCKET/llm/config.json"
	case isAny(err, objectstore.ErrListing):
		return "the store, or who stands between, does not tell what there is; ask its operator, or name another endpoint"
	case isAny(err, objectstore.ErrBucket):
		return "check the bucket's name, the account, and the region or endpoint (s3://BUCKET/PREFIX?region=REGION)"
	case isAny(err, objectstore.ErrDenied):
		return "check the credentials in the environment or the profile; whoever asks must be allowed to list the bucket and read its objects"
	case isAny(err, objectstore.ErrUnavailable):
		return "check the network, the region or endpoint, and the credentials; nothing was decided. Run the command again"
	case isAny(err, hub.ErrUnavailable):
		return "check HF_ENDPOINT and the network; nothing was packed under its name"
	case isAny(err, manifest.ErrSymlink):
		return "replace the link by the file that it points to (cp -L), or leave it out of the tree; hash, sign and verify follow it with --allow-symlinks"
	case isAny(err, manifest.ErrBrokenLink):
		return "remove the link, or leave it out with --ignore-paths"
	case isAny(err, manifest.ErrName) && isAny(err, attest.ErrBundle, attest.ErrStatement):
		return "no tree can hold such a file; ask whoever signed it"
	case isAny(err, manifest.ErrName):
		return "rename the file: letters, digits, spaces, `-`, `_` and `.` are safe everywhere"
	case isAny(err, manifest.ErrChanged):
		return "something writes to the files; stop it and run the command again"
	case isAny(err, manifest.ErrEmpty):
		return "name a directory that holds the model's or dataset's files"
	case isAny(err, layout.ErrInspections):
		return "look at what they are for; --unsafe-skip-inspections verifies the rest, and says that they were not done"
	case isAny(err, compose.ErrMissing):
		return "give them as flags, or run on a terminal to be asked"
	case isAny(err, evaluation.ErrAsked):
		return "--metric picks the metrics, --higher-is-better and --lower-is-better say how to read them, --harness NAME@VERSION which tool it was"
	case isAny(err, parts.ErrParts):
		return "hash the parts that are named again, of a tree that nobody writes to, and merge all of them"
	case isAny(err, parts.ErrIsPart):
		return "mlseal manifest merge makes the manifest of the tree of all its parts"
	case isAny(err, attest.ErrBundle):
		return "name the file that mlseal sign or mlseal attest wrote, or get it again from whoever signed"
	case isAny(err, attest.ErrPredicate):
		return "mlseal schema NAME prints the schema of a predicate"
	case isAny(err, atomicfile.ErrExists):
		return "choose another --output-key-prefix, or move the old key away"
	case isAny(err, syscall.EXDEV):
		return "hard links need the layout on the file system of the files; leave --link out to copy them"
	case isAny(err, syscall.ENOTCONN):
		return "what was mounted there lost its program: `umount` the directory, or `fusermount3 -u`"
	case isAny(err, syscall.ENOSPC):
		return "free some space and run the command again; what was there before is whole"
	case isAny(err, syscall.EROFS):
		return "choose a place that can be written to"
	case isAny(err, verify.ErrNoRoot):
		return "name a Sigstore trusted root with --trusted-root, or in the policy (trust: {root: FILE}); `cosign trusted-root create` writes one. Nothing was decided"
	case isAny(err, signer.ErrNoSigningConfig):
		return "name a Sigstore signing config with --signing-config, and its trusted root with --trusted-root; `cosign signing-config create` writes one. Nothing was signed"
	case isAny(err, signer.ErrToken):
		return "get a new token: it is a JSON Web Token for the audience " + signer.Audience + ", and lives for minutes only"
	case isAny(err, signer.ErrService):
		return "nothing was signed; check the service named above and run the command again"
	case isAny(err, verify.ErrMaterial):
		return "verify with --certificate-chain, or with --certificate-identity and --certificate-oidc-issuer"
	case isAny(err, verify.ErrNoCertificate):
		return "verify with --key"
	case isAny(err, verify.ErrHint):
		return "verify with the public key of whoever signed it"
	case isAny(err, errMixed):
		return "write oci:DIR to mean the layout; a directory that is deployed must not hold one"
	case isAny(err, mount.ErrUnsupported):
		return "mounting needs Linux, /dev/fuse, and root or fusermount3 (in a container: --device /dev/fuse --cap-add SYS_ADMIN); mlseal cat and mlseal pull need none of it"
	case isAny(err, reader.ErrMismatch):
		return "the file was altered or cut off, or is another one; nothing of the wrong part was given out. Get it again from where it was published"
	case isAny(err, oci.ErrExtra):
		return "pull into an empty directory, or remove those files"
	case isAny(err, memory.ErrUnreadable):
		return "nothing was decided. Restore the file, or remove it and compare the policy's version with what you know before"
	case isAny(err, memory.ErrRollback):
		return "get the policy's current version; who publishes one gives it a higher version than all before"
	case isAny(err, memory.ErrMisplaced):
		return "name the policy's own tag; when the other policy is wanted here from now on, remove the place from the file of --policy-state"
	case errors.As(err, &onPolicy) && onPolicy.Code == policies.PolicyMisplaced:
		return "a copy of a policy is used with --policy-repository, which names the repository that it is signed for"
	case errors.As(err, &onPolicy):
		return "mlseal policy push signs policies; name who signs them with --policy-key or --policy-certificate-identity"
	case isAny(err, errUnpinned):
		return "name a policy of your own, or compare the digest with one that came another way and pin it with --policy-digest"
	case isAny(err, oci.ErrReadOnly):
		return "copy it to a layout first (mlseal copy oci-archive:FILE.tar oci:DIR:TAG); mlseal copy makes archives"
	case isAny(err, oci.ErrReference):
		return oci.ReferenceForms
	case isAny(err, oci.ErrPattern):
		return "mlseal inspect REF lists the files; quote patterns, so that the shell does not expand them"
	case isAny(err, oci.ErrReferred):
		return "remove what refers to it first; statements go with it with --with-attestations"
	case isAny(err, oci.ErrRefused):
		return "the registry's operator, or what you may do there, forbids it; what it is about is still there"
	case isAny(err, oci.ErrCredentials):
		return "check the user name and the password or token"
	case isAny(err, oci.ErrUnavailable):
		return "check the registry's name, the network and `mlseal login`; nothing was decided. Run the command again: what was transferred is not sent twice"
	case errors.As(err, &onUsage) && onUsage.general:
		return "mlseal --help lists the commands, mlseal COMMAND --help the flags"
	case isAny(err, context.Canceled):
		return "a signal interrupted it; mlseal leaves no file half written under its final name (what a shell writes its output to may be), and the command can be run again"
	case isAny(err, fs.ErrPermission):
		return "check the permissions of what is named, for the user who runs mlseal"
	}
	return ""
}

// exitStatusTopic is `mlseal help exit-status`.
func exitStatusTopic() *cobra.Command {
	return &cobra.Command{Use: "exit-status", Short: "What the exit statuses mean", Long: exitStatusExplain}
}
