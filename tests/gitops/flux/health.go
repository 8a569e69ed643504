package main

import (
	"context"
	"encoding/json"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// Verdict is what is thought of one object.
type Verdict struct {
	// What kstatus says: Current, InProgress, Failed, Terminating, NotFound.
	Status string `json:"status"`
	// Why.
	Message string `json:"message"`
	// The same from the expressions, where there are some for the kind.
	Expressions string `json:"expressions"`
}

func readHealthChecks(file string) ([]kustomize.CustomHealthCheck, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var kustomization struct {
		Spec struct {
			HealthCheckExprs []kustomize.CustomHealthCheck `json:"healthCheckExprs"`
		} `json:"spec"`
	}
	err = yaml.Unmarshal(text, &kustomization)
	return kustomization.Spec.HealthCheckExprs, err
}

// The verdict about each object of a JSON array.
func judge(objects string, checks []kustomize.CustomHealthCheck) ([]Verdict, error) {
	text, err := os.ReadFile(objects)
	if err != nil {
		return nil, err
	}
	var listed []json.RawMessage
	if err := json.Unmarshal(text, &listed); err != nil {
		return nil, err
	}
	verdicts := []Verdict{}
	for _, one := range listed {
		// Not a plain map: its numbers would be floats.
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(one); err != nil {
			return nil, err
		}
		verdicts = append(verdicts, verdict(object, checks))
	}
	return verdicts, nil
}

func verdict(object *unstructured.Unstructured, checks []kustomize.CustomHealthCheck) Verdict {
	result, err := status.Compute(object)
	if err != nil {
		return Verdict{Status: "Unknown", Message: err.Error()}
	}
	verdict := Verdict{Status: string(result.Status), Message: oneLine(result.Message)}
	verdict.Expressions = byExpressions(object, checks)
	return verdict
}

// Read by the same reader that kustomize-controller's poller asks.
func byExpressions(object *unstructured.Unstructured, checks []kustomize.CustomHealthCheck) string {
	make, err := cel.NewStatusReader(checks)
	if err != nil {
		return err.Error()
	}
	reader := make(nil)
	if !reader.Supports(object.GroupVersionKind().GroupKind()) {
		return ""
	}
	read, err := reader.ReadStatusForObject(context.Background(), nil, object)
	switch {
	case err != nil:
		return err.Error()
	case read.Error != nil:
		return read.Error.Error()
	}
	return string(read.Status)
}
