//! Templates of other namespaces: who may use them is asked before whether they are there.

use arcane_tests::{TestNamespace, UserAccess};
use serde_json::{Value, json};

use crate::asked::{Asked, with};
use crate::plugins::{TEMPLATE, a_good_stream, installed};
use crate::world::*;

const NAME: &str = "spec.jobTemplateRef.name";

/// A user of a group that may do everything with streams in its own namespace, and nothing elsewhere.
pub async fn a_developer(asked: &Asked, world: &World, ns: &TestNamespace<'_>) -> (Asked, String, UserAccess) {
    let (user, group) = (format!("jane-{}", ns.name()), format!("devs-{}", ns.name()));
    ns.apply(&format!(
        r"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: developer}}
rules:
- apiGroups: [streaming.sneaksanddata.com]
  resources: ['*']
  verbs: ['*']
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: developer}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: developer}}
subjects: [{{kind: Group, apiGroup: rbac.authorization.k8s.io, name: {group}}}]
"
    ))
    .await;
    let access = world.fixture.cluster().user(&user, &[&group]).await.unwrap();
    (asked.as_user(access.client()), group, access)
}

/// Lets a group get one template.
async fn let_read(shared: &TestNamespace<'_>, group: &str, template: &str) {
    shared
        .apply(&format!(
            r"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: reader}}
rules:
- apiGroups: [streaming.sneaksanddata.com]
  resources: [streamingjobtemplates]
  resourceNames: [{template}]
  verbs: [get]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: reader}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}}
subjects: [{{kind: Group, apiGroup: rbac.authorization.k8s.io, name: {group}}}]
"
        ))
        .await;
}

fn with_template_of(namespace: &str, name: &str) -> Value {
    with(a_good_stream(), json!({"jobTemplateRef": {"name": name, "namespace": namespace}}))
}

#[test]
fn who_may_not_read_a_template_may_not_use_it_and_is_not_told_whether_it_is_there() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let shared = world.fixture.namespace("shared").await;
        let (jane, group, _) = a_developer(&asked, world, ns).await;
        jane.accepts(&a_good_stream(), &with(a_good_stream(), json!({"table": "after"}))).await;
        for template in [TEMPLATE, "nowhere"] {
            let theirs = with_template_of(shared.name(), template);
            let said = jane.refuses(&a_good_stream(), &theirs, &[NAME]).await;
            let words = format!(
                "Forbidden: user {:?} may not get StreamingJobTemplate {}/{template}, which is in another namespace; use a \
                 template of namespace {}, or ask for the right to get streamingjobtemplates.streaming.sneaksanddata.com \
                 in namespace {}",
                format!("jane-{}", ns.name()),
                shared.name(),
                ns.name(),
                shared.name()
            );
            assert_eq!(said, [format!("{NAME}: {words}")]);
            // That a client comes again makes no difference.
            jane.by("helm").refuses_new(&theirs, &[NAME]).await;
        }

        let_read(&shared, &group, TEMPLATE).await;
        // The API server's authorizer hears of it a moment later.
        let theirs = with_template_of(shared.name(), TEMPLATE);
        let may = async || {
            let answer = jane.write(crate::asked::Way::Create, true, &theirs).await;
            if answer.is_allowed() { Ok(()) } else { Err(answer.body.to_string()) }
        };
        arcane_tests::eventually(arcane_tests::fixture::SOON, "right to read", may).await.unwrap();
        jane.accepts(&a_good_stream(), &theirs).await;
        // Only that one.
        jane.refuses_new(&with_template_of(shared.name(), "sqlserver-backfill-template"), &[NAME]).await;
        // The admin may read all: what isn't there is missing.
        let said = asked.refuses(&a_good_stream(), &with_template_of(shared.name(), "nowhere"), &[NAME]).await;
        assert!(said[0].contains("Not found: \"nowhere\"") && said[0].contains(shared.name()), "{said:?}");
        shared.delete().await;
    });
}

#[test]
fn a_template_says_which_namespaces_may_use_it() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let shared = world.fixture.namespace("shared").await;
        let theirs = with_template_of(shared.name(), TEMPLATE);
        let allow = async |namespaces: &str| {
            let annotation = format!("arcane/allowed-namespaces={namespaces}");
            shared.kubectl(&["annotate", "streamingjobtemplate", TEMPLATE, "--overwrite", &annotation]).await;
        };
        asked.accepts(&a_good_stream(), &theirs).await;
        for namespaces in ["a, b".to_owned(), String::new(), format!("{}x", ns.name())] {
            allow(&namespaces).await;
            // The annotation has a moment to arrive: a yes of before may still be told.
            let refused = async || {
                let answer = asked.write(crate::asked::Way::Create, true, &theirs).await;
                if answer.is_allowed() { Err(answer.body.to_string()) } else { Ok(()) }
            };
            arcane_tests::eventually(arcane_tests::fixture::SOON, "refusal", refused).await.unwrap();
            let said = asked.refuses(&a_good_stream(), &theirs, &[NAME]).await;
            let words = format!("add {} to its annotation arcane/allowed-namespaces", ns.name());
            assert!(said[0].contains("Forbidden: ") && said[0].contains(&words), "{said:?}");
            asked.by("helm").refuses_new(&theirs, &[NAME]).await;
        }
        // A yes holds at once.
        for namespaces in [format!("a, {}", ns.name()), "*".to_owned()] {
            allow(&namespaces).await;
            asked.accepts(&a_good_stream(), &theirs).await;
        }
        shared.delete().await;
    });
}
