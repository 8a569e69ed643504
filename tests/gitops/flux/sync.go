package main

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/engine"
	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"github.com/fluxcd/pkg/runtime/statusreaders"
	"github.com/fluxcd/pkg/ssa"
	"github.com/fluxcd/pkg/ssa/normalize"
	"github.com/fluxcd/pkg/ssa/utils"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

const (
	fieldManager = "kustomize-controller"
	group        = "kustomize.toolkit.fluxcd.io"
)

// Synced is what came of all reconciles.
type Synced struct {
	Reconciles []Reconcile        `json:"reconciles"`
	Warnings   []string           `json:"warnings"`
	Health     map[string]Verdict `json:"health"`
}

// Reconcile is what came of one.
type Reconcile struct {
	// Why nothing more was applied.
	Error string `json:"error"`
	// Created or configured objects: "StreamClass/name created".
	Changes []string `json:"changes"`
	// Why the objects weren't ready in time.
	WaitError string `json:"waitError"`
	// Objects that a dry run would change after this.
	Drift []string `json:"drift"`
}

// What the API server warns of, in the order of its coming.
type warnings struct{ told []string }

func (w *warnings) HandleWarningHeader(_ int, _ string, text string) {
	w.told = append(w.told, text)
}

func sync(kubeconfig, manifests string, times int, wait time.Duration, checks []kustomize.CustomHealthCheck) (*Synced, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	heard := &warnings{told: []string{}}
	config.WarningHandler = heard
	// As kustomize-controller's --kube-api-qps is when nobody says it.
	config.QPS, config.Burst = 50, 300
	kube, poller, err := clients(config, checks)
	if err != nil {
		return nil, err
	}
	manager := ssa.NewResourceManager(kube, poller, ssa.Owner{Field: fieldManager, Group: group})
	manager.SetConcurrency(4)
	result := &Synced{Warnings: []string{}, Health: map[string]Verdict{}}
	var objects []*unstructured.Unstructured
	for range times {
		// Each reconcile reads the manifests anew: applying changes them.
		if objects, err = read(manifests); err != nil {
			return nil, err
		}
		manager.SetOwnerLabels(objects, "everything", "flux-system")
		result.Reconciles = append(result.Reconciles, reconcile(manager, objects, wait))
	}
	result.Warnings = heard.told
	for _, object := range objects {
		live := &unstructured.Unstructured{}
		live.SetGroupVersionKind(object.GroupVersionKind())
		if err := kube.Get(context.Background(), client.ObjectKeyFromObject(object), live); err != nil {
			result.Health[utils.FmtUnstructured(object)] = Verdict{Status: string(status.NotFoundStatus), Message: err.Error()}
			continue
		}
		result.Health[utils.FmtUnstructured(object)] = verdict(live, nil)
	}
	return result, nil
}

// As kustomize-controller makes them.
func clients(config *rest.Config, checks []kustomize.CustomHealthCheck) (client.Client, *polling.StatusPoller, error) {
	http, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, nil, err
	}
	mapper, err := apiutil.NewDynamicRESTMapper(config, http)
	if err != nil {
		return nil, nil, err
	}
	kube, err := client.New(config, client.Options{HTTPClient: http, Mapper: mapper})
	if err != nil {
		return nil, nil, err
	}
	readers := []engine.StatusReader{statusreaders.NewCustomJobStatusReader(mapper)}
	if len(checks) > 0 {
		reader, err := cel.NewStatusReader(checks)
		if err != nil {
			return nil, nil, err
		}
		readers = append(readers, reader(mapper))
	}
	return kube, polling.NewStatusPoller(kube, mapper, polling.Options{CustomStatusReaders: readers}), nil
}

func read(manifests string) ([]*unstructured.Unstructured, error) {
	file, err := os.Open(manifests)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	objects, err := utils.ReadObjects(file)
	if err != nil {
		return nil, err
	}
	return objects, normalize.UnstructuredList(objects)
}

func reconcile(manager *ssa.ResourceManager, objects []*unstructured.Unstructured, wait time.Duration) Reconcile {
	ctx := context.Background()
	done := Reconcile{Changes: []string{}, Drift: []string{}}
	changes, err := manager.ApplyAllStaged(ctx, objects, options())
	if changes != nil {
		for _, change := range changes.Entries {
			if change.Action != ssa.UnchangedAction {
				done.Changes = append(done.Changes, change.Subject+" "+change.Action.String())
			}
		}
	}
	if err != nil {
		done.Error = err.Error()
		return done
	}
	if wait > 0 {
		// It looks every second where kustomize-controller looks every five.
		wait := ssa.WaitOptions{Interval: time.Second, Timeout: wait}
		if err := manager.WaitForSetWithContext(ctx, changes.ToObjMetadataSet(), wait); err != nil {
			done.WaitError = err.Error()
		}
	}
	for _, object := range objects {
		change, _, _, err := manager.Diff(ctx, object.DeepCopy(), ssa.DefaultDiffOptions())
		switch {
		case err != nil:
			done.Drift = append(done.Drift, err.Error())
		case change.Action != ssa.UnchangedAction:
			done.Drift = append(done.Drift, change.Subject+" "+change.Action.String())
		}
	}
	return done
}

// Those of kustomize-controller for a Kustomization that says nothing of its own.
func options() ssa.ApplyOptions {
	options := ssa.DefaultApplyOptions()
	options.ExclusionSelector = map[string]string{group + "/reconcile": "disabled", group + "/ssa": "Ignore"}
	options.IfNotPresentSelector = map[string]string{group + "/ssa": "IfNotPresent"}
	options.ForceSelector = map[string]string{group + "/force": "enabled"}
	options.Cleanup = ssa.ApplyCleanupOptions{
		Annotations: []string{"kubectl.kubernetes.io/last-applied-configuration"},
		FieldManagers: []ssa.FieldManager{
			{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationApply},
			{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationUpdate},
			{Name: "before-first-apply", OperationType: metav1.ManagedFieldsOperationUpdate},
			{Name: fieldManager, OperationType: metav1.ManagedFieldsOperationUpdate},
		},
		Exclusions: map[string]string{group + "/ssa": "Merge"},
	}
	return options
}

func oneLine(text string) string {
	return strings.Join(strings.Fields(text), " ")
}
