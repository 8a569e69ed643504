// Command argocd does with a file of manifests what Argo CD does with an Application's objects, with the modules that it is
// made of.
//
//	argocd sync --kubeconfig FILE --manifests FILE --namespace NAME [--server-side] [--times N] [--customizations FILE]
//	argocd check --manifests FILE
//	argocd health --objects FILE --customizations FILE
//
// The customizations are a manifest of ConfigMap argocd-cm. It prints JSON, and ends with a status other than 0 only where it
// can't do its work: what the API server refuses is a result.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) == 0 {
		return fmt.Errorf("sync, check or health?")
	}
	flags := flag.NewFlagSet(arguments[0], flag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "whose rights are used")
	manifests := flags.String("manifests", "", "the YAML to apply")
	namespace := flags.String("namespace", "default", "the Application's destination")
	serverSide := flags.Bool("server-side", false, "the sync option ServerSideApply=true")
	times := flags.Int("times", 1, "how often it is synced, 0: it is compared only")
	objects := flags.String("objects", "", "a JSON array of objects to judge")
	customizations := flags.String("customizations", "", "a manifest of ConfigMap argocd-cm")
	if err := flags.Parse(arguments[1:]); err != nil {
		return err
	}
	overrides, err := readOverrides(*customizations)
	if err != nil {
		return err
	}
	var result any
	switch arguments[0] {
	case "sync":
		app := application{*manifests, *namespace, *serverSide, overrides}
		result, err = app.sync(*kubeconfig, *times)
	case "check":
		result, err = readStrictly(*manifests)
	case "health":
		result, err = judge(*objects, overrides)
	default:
		err = fmt.Errorf("%s is none of sync, check and health", arguments[0])
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}
