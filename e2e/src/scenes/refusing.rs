//! What can't work never gets into the cluster.

use crate::scenes::installing;
use crate::screen::{note, seen, timed};
use crate::world::{GUIDE, World};

pub async fn play(world: &World) {
    installing::guide_plugin(world).await;
    let manifest = arcane_tests::fixture::repository_file("examples/guide/my-database-stream.yaml");
    let (told, took) = timed("kubectl apply of a stream without its template is refused", async {
        let told = world.apply(None, &manifest).await;
        assert!(!told.success, "it was accepted: {}", told.stdout);
        told
    })
    .await;
    note(&format!("kubectl took {took:.1?} and said: {}", told.stderr.trim()));
    for word in ["my-database-stream", "spec.backfillJobTemplateRef.name: Not found", "sqlserver-backfill-template"] {
        assert!(told.stderr.contains(word), "{word} isn't told: {}", told.stderr);
    }
    seen("nothing of it is stored", async {
        let stored =
            world.try_kubectl(&format!("get sqlserverchangetrackingstream my-database-stream -n {GUIDE}")).await;
        assert!(stored.stderr.contains("NotFound"), "{stored:?}");
    })
    .await;
    seen("all mistakes of a template are told at once", async {
        let wrong = "apiVersion: streaming.sneaksanddata.com/v1\nkind: StreamingJobTemplate\nmetadata: {name: wrong}\n\
                     spec: {template: {spec: {restartPolicy: Always, containers: [{name: a, image: b, ports: [{containerPort: x}]}]}}}\n";
        let told = world.apply(Some(GUIDE), wrong).await;
        assert!(!told.success, "it was accepted");
        for word in ["restartPolicy", "containerPort"] {
            assert!(told.stderr.contains(word), "{word} isn't told: {}", told.stderr);
        }
    })
    .await;
}
