//! The node under a stream is taken out of service.

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use crate::release;
use crate::scenes::installing;
use crate::screen::seen;
use crate::wait;
use crate::works::{SOON, running_pod};
use crate::world::{GUIDE, World};

pub async fn play(world: &World) {
    installing::guide_stream(world).await;
    let pod = seen("the guide's stream runs", running_pod(world, GUIDE, "orders-stream")).await;
    let node = pod.spec.and_then(|spec| spec.node_name).unwrap_or_else(|| panic!("a running pod has no node"));
    let nodes: Api<Node> = Api::all(world.client());
    let one = nodes.list(&ListParams::default()).await.unwrap_or_else(|error| panic!("{error}")).items.len() == 1;

    // Webhooks that find no other node stay: their disruption budget holds the drain up, as it should.
    seen("kubectl drain: the stream's pod and the controller are evicted", async {
        for pods in ["arcane/stream-id", "app.kubernetes.io/name=arcane-operator"] {
            world.kubectl(&format!("drain {node} --ignore-daemonsets --pod-selector {pods} --timeout 120s")).await;
        }
    })
    .await;
    if one {
        seen("nothing runs in vain: the stream's new pod waits for a node", async {
            wait::until(SOON, "pending pod", || async {
                let line = format!("get pods -n {GUIDE} -l arcane/stream-id=orders-stream,arcane/backfilling=false");
                let told =
                    world.kubectl(&format!("{line} -o jsonpath={{range.items[*]}}{{.status.phase}},{{end}}")).await;
                if told.contains("Pending") { Ok(()) } else { Err(told) }
            })
            .await;
        })
        .await;
    }
    seen("kubectl uncordon: stream and controller run", async {
        world.kubectl(&format!("uncordon {node}")).await;
        let now = running_pod(world, GUIDE, "orders-stream").await;
        assert_ne!(now.uid(), pod.metadata.uid, "the pod was evicted");
        release::ready(world).await;
    })
    .await;
    seen("the stream is in phase Running, and obeys", async {
        let stream = "sqlserverchangetrackingstream/orders-stream";
        for (suspended, phase) in [(true, "Suspended"), (false, "Running")] {
            let patch = format!("{{\"spec\":{{\"suspended\":{suspended}}}}}");
            world.kubectl(&format!("patch {stream} -n {GUIDE} --type merge -p {patch}")).await;
            let line = format!("wait --for=jsonpath={{.status.phase}}={phase} {stream} -n {GUIDE} --timeout 120s");
            world.kubectl(&line).await;
        }
    })
    .await;
}
