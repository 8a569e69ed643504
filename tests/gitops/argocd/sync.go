package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/cache"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/diff"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/sync"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/sync/common"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/utils/kube"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/utils/tracing"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// The field manager of its server-side apply and of its server-side diff.
	manager  = "argocd-controller"
	tracking = "argocd.argoproj.io/tracking-id"
	// One sync doesn't take longer.
	deadline = 5 * time.Minute
)

type application struct {
	manifests  string
	namespace  string
	serverSide bool
	overrides  lua.ResourceHealthOverrides
}

// Synced is what came of all syncs.
type Synced struct {
	Syncs  []Sync             `json:"syncs"`
	Health map[string]Verdict `json:"health"`
}

// Sync is what came of one.
type Sync struct {
	// What was refused, by try: "Kind/name: why". The first empty list ends them; there are at most two, as auto-sync's
	// first retry comes soon.
	Tries [][]string `json:"tries"`
	// Objects that are OutOfSync after it, by the way of telling.
	OutOfSync map[string][]string `json:"outOfSync"`
}

type cluster struct {
	config  *rest.Config
	cache   cache.ClusterCache
	kubectl kube.Kubectl
}

func (a application) sync(kubeconfig string, times int) (*Synced, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.WarningHandler = rest.NoWarnings{}
	config.QPS, config.Burst = 200, 400
	kubectl := &kube.KubectlCmd{Log: logr.Discard(), Tracer: tracing.NopTracer{}}
	live := cache.NewClusterCache(config, cache.SetLogr(logr.Discard()), cache.SetKubectl(kubectl),
		cache.SetPopulateResourceInfoHandler(func(object *unstructured.Unstructured, _ bool) (any, bool) {
			id := object.GetAnnotations()[tracking]
			return id, id != ""
		}))
	it := cluster{config, live, kubectl}
	// Somebody else's kind may go while it lists; Argo CD begins anew then, too.
	for tries := 5; ; tries-- {
		err := live.EnsureSynced()
		if err == nil {
			break
		}
		if tries == 1 {
			return nil, err
		}
		live.Invalidate()
	}
	defer live.Invalidate()
	result := &Synced{Health: map[string]Verdict{}}
	for range times {
		synced, err := a.once(it)
		if err != nil {
			return nil, err
		}
		result.Syncs = append(result.Syncs, *synced)
	}
	if times == 0 {
		compared := Sync{Tries: [][]string{}, OutOfSync: map[string][]string{}}
		if err := a.compare(it, compared.OutOfSync); err != nil {
			return nil, err
		}
		result.Syncs = append(result.Syncs, compared)
	}
	targets, err := a.targets(it)
	if err != nil {
		return nil, err
	}
	for _, target := range targets {
		object, err := it.live(target)
		if err != nil {
			result.Health[name(target)] = Verdict{Status: "Missing", Message: err.Error()}
			continue
		}
		result.Health[name(target)] = verdict(object, a.overrides)
	}
	return result, nil
}

// The manifests, with what Argo CD adds to each to know it again.
func (a application) targets(it cluster) ([]*unstructured.Unstructured, error) {
	file, err := os.Open(a.manifests)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var targets []*unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(file, 4096)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		switch {
		case errors.Is(err, io.EOF):
			return targets, nil
		case err != nil:
			return nil, err
		case len(object.Object) == 0:
			continue
		}
		kind := object.GroupVersionKind()
		annotations := object.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[tracking] = fmt.Sprintf("everything:%s/%s:%s/%s", kind.Group, kind.Kind, a.namespace, object.GetName())
		object.SetAnnotations(annotations)
		targets = append(targets, object)
	}
}

func (a application) once(it cluster) (*Sync, error) {
	synced := &Sync{Tries: [][]string{}, OutOfSync: map[string][]string{}}
	for len(synced.Tries) < 2 {
		failed, err := a.try(it)
		if err != nil {
			return nil, err
		}
		synced.Tries = append(synced.Tries, failed)
		if len(failed) == 0 {
			break
		}
	}
	return synced, a.compare(it, synced.OutOfSync)
}

// What was refused in one try.
func (a application) try(it cluster) ([]string, error) {
	targets, err := a.targets(it)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	managed := func(r *cache.Resource) bool {
		id, _ := r.Info.(string)
		return strings.HasPrefix(id, "everything:") && strings.Contains(id, ":"+a.namespace+"/")
	}
	results, err := a.rounds(ctx, it, targets, managed)
	failed := []string{}
	for _, result := range results {
		if result.Status != common.ResultCodeSynced && result.Status != common.ResultCodePruned {
			failed = append(failed, fmt.Sprintf("%s/%s: %s", result.ResourceKey.Kind, result.ResourceKey.Name, result.Message))
		}
	}
	sort.Strings(failed)
	if err != nil && len(failed) == 0 {
		failed = append(failed, err.Error())
	}
	return failed, nil
}

// One operation, round after round as the application controller does it: each looks at what there is by now, and goes on
// where the one before it stopped.
func (a application) rounds(ctx context.Context, it cluster, targets []*unstructured.Unstructured, managed func(*cache.Resource) bool) ([]common.ResourceSyncResult, error) {
	phase, message, results, started := common.OperationRunning, "", []common.ResourceSyncResult{}, metav1.Now()
	for {
		live, err := it.cache.GetManagedLiveObjs(targets, managed)
		if err != nil {
			return nil, err
		}
		syncing, cleanup, err := sync.NewSyncContext("revision", sync.Reconcile(targets, live, a.namespace, it.cache),
			it.config, it.config, it.kubectl, a.namespace,
			sync.WithLogr(logr.Discard()),
			sync.WithHealthOverride(a.overrides),
			sync.WithInitialState(phase, message, results, started),
			sync.WithManifestValidation(true),
			sync.WithServerSideApply(a.serverSide),
			sync.WithServerSideApplyManager(manager),
		)
		if err != nil {
			return nil, err
		}
		syncing.Sync()
		phase, message, results = syncing.GetState()
		cleanup()
		if phase.Completed() {
			if phase != common.OperationSucceeded {
				return results, errors.New(message)
			}
			return results, nil
		}
		select {
		case <-ctx.Done():
			return results, fmt.Errorf("%w: %s", ctx.Err(), message)
		case <-time.After(time.Second):
		}
	}
}

// Every way in which Argo CD tells whether an object is as its manifest says.
func (a application) compare(it cluster, outOfSync map[string][]string) error {
	targets, err := a.targets(it)
	if err != nil {
		return err
	}
	_, parser, err := it.kubectl.LoadOpenAPISchema(it.config)
	if err != nil {
		return err
	}
	applier, cleanup, err := it.kubectl.ManageServerSideDiffDryRuns(it.config)
	if err != nil {
		return err
	}
	defer cleanup()
	common := []diff.Option{diff.WithNormalizer(statusIgnored{}), diff.WithLogr(logr.Discard()), diff.WithGVKParser(parser), diff.WithManager(manager)}
	serverSide := append([]diff.Option{
		diff.WithServerSideDiff(true), diff.WithServerSideDryRunner(diff.NewK8sServerSideDryRunner(applier)),
	}, common...)
	ways := map[string][]diff.Option{
		"server-side":               serverSide,
		"server-side with webhooks": append([]diff.Option{diff.WithIgnoreMutationWebhook(false)}, serverSide...),
	}
	if a.serverSide {
		ways["structured merge"] = append([]diff.Option{diff.WithStructuredMergeDiff(true)}, common...)
	} else {
		ways["three-way"] = common
	}
	for way, options := range ways {
		outOfSync[way] = []string{}
		told := make([]string, len(targets))
		var group errgroup.Group
		// Argo CD compares one after another; nobody waits for a page here.
		group.SetLimit(8)
		for i, target := range targets {
			group.Go(func() error {
				told[i] = it.difference(target, options)
				return nil
			})
		}
		_ = group.Wait()
		for _, one := range told {
			if one != "" {
				outOfSync[way] = append(outOfSync[way], one)
			}
		}
	}
	return nil
}

// As Argo CD does where nobody sets resource.compareoptions: a status that changes between two looks is no difference.
type statusIgnored struct{}

func (statusIgnored) Normalize(object *unstructured.Unstructured) error {
	unstructured.RemoveNestedField(object.Object, "status")
	return nil
}

// What is told of an object that isn't as its manifest says, "" of one that is.
func (c cluster) difference(target *unstructured.Unstructured, options []diff.Option) string {
	live, err := c.live(target)
	for tries := 0; err == nil; tries++ {
		result, failure := diff.Diff(target.DeepCopy(), live, options...)
		if failure != nil {
			return name(target) + ": " + failure.Error()
		}
		if !result.Modified {
			return ""
		}
		// A comparison looks twice, at the object and at what a dry run would make of it: what was written in between is
		// no difference.
		before := live.GetResourceVersion()
		if live, err = c.live(target); err == nil && (live.GetResourceVersion() == before || tries == 10) {
			return fmt.Sprintf("%s: %s instead of %s", name(target), result.NormalizedLive, result.PredictedLive)
		}
	}
	return name(target) + ": " + err.Error()
}

func (c cluster) live(target *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	return c.kubectl.GetResource(context.Background(), c.config, target.GroupVersionKind(), target.GetName(), target.GetNamespace())
}

func name(object *unstructured.Unstructured) string {
	return object.GetKind() + "/" + object.GetName()
}
