package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/mlseal/mlseal/attest/record"
	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/spf13/cobra"
)

// recordFlags are those of attest record.
type recordFlags struct {
	step, recipe, config, builder       string
	materials, products, byproducts     []string
	params, env                         []string
	bundle, push, name                  string
	environmentOut, unsignedOut, report string
	hostName                            bool
	link                                recordLinkFlags
	key                                 signWithFlags
	store                               storeFlags
}

func (a *app) recordCommand() *cobra.Command {
	var f recordFlags
	cmd := &cobra.Command{
		Use:   "record --step STEP --material ROLE=PATH|REF --product PATH (--bundle FILE | --push REF | --format link) (--key KEY | --keyless) -- COMMAND [ARG...]",
		Short: "Run a step of a pipeline and sign what went in and what came out (SLSA provenance v1)",
		Long: `Run a command as it is, and sign SLSA provenance v1 of what it made. The terminal, input and output are the command's; signals reach it.

STEP is one of ` + strings.Join(record.Steps(), ", ") + `.
Materials are hashed before the command and looked at again after it; one that changed meanwhile is an error, and so is a product that is not there
or was not written. The git commit, the command line with secrets masked, the variables of --env, the machine, its accelerators and the packages of a Python
virtual environment are recorded; these go into a CycloneDX file, whose digest is in the statement.

ROLE is one of ` + strings.Join(record.Roles(), ", ") + `. A dataset's split stands behind a colon: dataset:validation=PATH.
The statement is about the products. It is written to --bundle; with --push REF the product is packed as pack does, in the same read, and the statement attached.

With --format link it is in-toto link metadata in --links, for mlseal verify --layout.
A command that fails signs nothing, and its exit status is that of mlseal. See docs/record.md.`,
		Example: "  mlseal attest record --step fine-tune --material baseModel=oci:store:base --material dataset=./data --product ./out \\\n" +
			"    --param epochs=3 --bundle out.sigstore.json --key trainer.key -- python train.py --epochs 3\n" +
			"  mlseal attest record --step quantize --material baseModel=./model --product ./q4 --push oci:store:q4 --key trainer.key -- ./quantize.sh\n" +
			"  mlseal attest record --step convert --material baseModel=./model --product ./gguf --format link --links ./links --key trainer.key -- ./convert.sh",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("no command to run: write it behind --, as in `-- python train.py`")
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false)
	flags.Var(&choice{&f.step, record.Steps()}, "step", "what the command does: "+strings.Join(record.Steps(), ", "))
	flags.StringArrayVar(&f.materials, "material", nil, "ROLE[:SPLIT]=PATH|REF: what goes in (repeatable)")
	flags.StringArrayVar(&f.products, "product", nil, "directory or file that comes out (repeatable)")
	flags.StringArrayVar(&f.byproducts, "byproduct", nil, "ROLE=PATH: what comes out beside it, such as metrics, logs and config (repeatable)")
	flags.StringArrayVar(&f.params, "param", nil, "NAME=VALUE: a hyperparameter (repeatable)")
	flags.StringVar(&f.recipe, "recipe", "", "file or URI that says what was to be done (default the git repository, or the script)")
	flags.StringVar(&f.config, "config", "", "file that configures the command: a material of the role config, and the recipe's path")
	flags.StringArrayVar(&f.env, "env", nil, "environment variable to record; a * at the end takes all that begin so (repeatable)")
	flags.BoolVar(&f.hostName, "host-name", false, "record the machine's name too")
	flags.StringVar(&f.builder, "builder-id", "", "builder.id (default that of GitHub Actions, GitLab CI or Kubernetes, or "+record.LocalBuilder+")")
	flags.StringVar(&f.bundle, "bundle", "", "where the statement is written")
	flags.StringVar(&f.push, "push", "", "REF: pack the product there, and attach the statement")
	flags.StringVar(&f.name, "name", "", "name to write into the package (part of its digest)")
	flags.StringVar(&f.environmentOut, "environment-out", "", "where the list of Python packages is written (default beside the bundle, or STEP.environment.cdx.json)")
	flags.StringVar(&f.unsignedOut, "unsigned-out", "", "where the predicate is written when the command succeeded and signing failed (default beside the bundle, or STEP.unsigned.json)")
	flags.StringVar(&f.report, "report", "", "write a report as JSON here once the command has ended, whatever it ended with")
	f.link.add(cmd)
	f.key.add(cmd)
	f.store.add(cmd)
	_ = cmd.MarkFlagRequired("step")
	_ = cmd.MarkFlagRequired("product")
	cmd.MarkFlagsMutuallyExclusive("bundle", "push")
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error { return a.record(cmd.Context(), args, f) })
	return cmd
}

// record runs the command and signs. Everything that can be wrong and is known before is found before.
func (a *app) record(ctx context.Context, args []string, f recordFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	plan, err := f.plan(a, args)
	if err != nil {
		return err
	}
	if err := f.checkPlaces(plan); err != nil {
		return err
	}
	if f.push != "" {
		opts, err := f.store.options()
		if err != nil {
			return err
		}
		ref, err := f.reference()
		if err != nil {
			return err
		}
		if err := oci.CheckPush(ctx, ref, opts); err != nil {
			return err
		}
	}
	pack := f.pack()
	signing, err := a.loadPackSigning(ctx, pack)
	if err != nil {
		return err
	}
	if err := f.placeLink(plan, signing.key); err != nil {
		return err
	}
	closeAll, err := a.openMaterials(ctx, f, plan)
	defer closeAll()
	if err != nil {
		return err
	}
	plan.Command.Env = a.environWithout(f.key.key)
	plan.Command.Holds = func(holds bool) { a.takeSignals(!holds) }
	rec, err := record.Run(ctx, *plan)
	r := &recorded{recordFlags: f, rec: rec, signing: signing, report: recordReport{Step: f.step}}
	if err == nil {
		err = a.sign(ctx, r)
	}
	if err != nil && rec != nil {
		err = ranError{err}
	}
	return a.reportRecord(r, err)
}

func (f *recordFlags) check() error {
	if err := f.checkLink(); err != nil {
		return err
	}
	switch {
	case !f.link.given() && f.bundle == "" && f.push == "":
		return usage(errors.New("attest record: nowhere to put the statement: name a file with --bundle, or a package with --push"))
	case f.push != "" && len(f.products) != 1:
		return usage(errors.New("attest record: --push packs one product: name the others as byproducts, or in a directory with it"))
	case f.push == "" && f.name != "":
		return usage(errors.New("attest record: --name is the name in a package: it goes with --push"))
	case !f.key.given():
		return f.key.check()
	}
	beside := strings.TrimSuffix(strings.TrimSuffix(f.bundle, ".json"), ".sigstore")
	if f.bundle == "" {
		beside = f.step
	}
	if f.environmentOut == "" {
		f.environmentOut = beside + ".environment.cdx.json"
	}
	if f.unsignedOut == "" {
		f.unsignedOut = beside + ".unsigned.json"
	}
	return nil
}

// reference is where the product is packed to.
func (f *recordFlags) reference() (oci.Reference, error) {
	pack := f.pack()
	return pack.reference(f.push)
}

// pack is how the product is packed.
func (f *recordFlags) pack() packFlags {
	kind := oci.TypeModel
	if strings.HasPrefix(f.step, "dataset-") {
		kind = oci.TypeDataset
	}
	return packFlags{kind: kind, name: f.name, key: f.key, store: f.store}
}

// environWithout is the environment without what unlocks the key: what is run has no need to sign.
func (a *app) environWithout(key string) []string {
	hidden := map[string]bool{"MLSEAL_PASSWORD": true, "COSIGN_PASSWORD": true, "MLSEAL_PIN": true, "COSIGN_PKCS11_PIN": true}
	if name, ok := strings.CutPrefix(key, "env://"); ok {
		hidden[name] = true
	}
	var environ []string
	for _, entry := range a.environment() {
		if name, _, _ := strings.Cut(entry, "="); !hidden[name] {
			environ = append(environ, entry)
		}
	}
	return environ
}

func (a *app) environment() []string {
	if a.environ == nil {
		return nil
	}
	return a.environ()
}

// machine is the machine's name, when it is wanted.
func (f *recordFlags) machine() (string, error) {
	if !f.hostName {
		return "", nil
	}
	return os.Hostname()
}

// asFile is what a command can be given to write to; nil when w is no file.
func asFile(w any) *os.File {
	if checked, ok := w.(*checkedWriter); ok {
		w = checked.w
	}
	f, _ := w.(*os.File)
	return f
}

// cutNamed takes NAME=VALUE apart.
func cutNamed(flag, arg, want string) (name, value string, err error) {
	name, value, ok := strings.Cut(arg, "=")
	if !ok || name == "" || value == "" && flag != "param" {
		return "", "", usage(fmt.Errorf("attest record: --%s %s: want %s", flag, name, want))
	}
	return name, value, nil
}
