// Command flux does with a file of manifests what Flux's kustomize-controller does with a Kustomization's objects, with the
// modules that it is made of.
//
//	flux sync --kubeconfig FILE --manifests FILE [--times N] [--wait DURATION] [--health-checks FILE]
//	flux health --objects FILE [--health-checks FILE]
//
// It prints JSON, and ends with a status other than 0 only where it can't do its work: what the API server refuses is a result.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) == 0 {
		return fmt.Errorf("sync or health?")
	}
	flags := flag.NewFlagSet(arguments[0], flag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "whose rights are used")
	manifests := flags.String("manifests", "", "the YAML to apply")
	objects := flags.String("objects", "", "a JSON array of objects to judge")
	checks := flags.String("health-checks", "", "YAML with spec.healthCheckExprs, as in a Kustomization")
	times := flags.Int("times", 1, "how often it is reconciled")
	wait := flags.Duration("wait", time.Minute, "how long the objects may take to become ready, 0: not waited for")
	if err := flags.Parse(arguments[1:]); err != nil {
		return err
	}
	healthChecks, err := readHealthChecks(*checks)
	if err != nil {
		return err
	}
	var result any
	switch arguments[0] {
	case "sync":
		result, err = sync(*kubeconfig, *manifests, *times, *wait, healthChecks)
	case "health":
		result, err = judge(*objects, healthChecks)
	default:
		err = fmt.Errorf("%s is neither sync nor health", arguments[0])
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}
