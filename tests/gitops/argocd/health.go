package main

import (
	"encoding/json"
	"os"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/health"
	appv1 "github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// Verdict is what is thought of one object.
type Verdict struct {
	// What Argo CD says: Healthy, Progressing, Degraded, Suspended, Unknown, "" if it has no opinion.
	Status string `json:"status"`
	// Why.
	Message string `json:"message"`
}

// As Argo CD reads resource.customizations of argocd-cm.
func readOverrides(file string) (lua.ResourceHealthOverrides, error) {
	overrides := map[string]appv1.ResourceOverride{}
	if file == "" {
		return overrides, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var settings corev1.ConfigMap
	if err := yaml.Unmarshal(text, &settings); err != nil {
		return nil, err
	}
	return overrides, yaml.Unmarshal([]byte(settings.Data["resource.customizations"]), &overrides)
}

// The verdict about each object of a JSON array.
func judge(objects string, overrides lua.ResourceHealthOverrides) ([]Verdict, error) {
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
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(one); err != nil {
			return nil, err
		}
		verdicts = append(verdicts, verdict(object, overrides))
	}
	return verdicts, nil
}

func verdict(object *unstructured.Unstructured, overrides lua.ResourceHealthOverrides) Verdict {
	status, err := health.GetResourceHealth(object, overrides)
	switch {
	case err != nil:
		return Verdict{Status: "Unknown", Message: err.Error()}
	case status == nil:
		return Verdict{}
	}
	return Verdict{Status: string(status.Status), Message: status.Message}
}

// Whether the manifest of an Application has only fields that there are.
func readStrictly(file string) (map[string]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if err := yaml.UnmarshalStrict(text, &appv1.Application{}); err != nil {
		return map[string]string{"error": err.Error()}, nil
	}
	return map[string]string{"error": ""}, nil
}
