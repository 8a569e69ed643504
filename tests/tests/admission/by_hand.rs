//! What people do with kubectl, through the webhook: to every kind, and without a word where nothing is wrong.

use arcane_tests::{KubectlOutput, TestNamespace};
use serde_json::{Value, json};

use crate::asked::{Asked, object};
use crate::plugins::*;
use crate::world::*;

/// A terminal whose kubectl is in a namespace, or in none.
struct Terminal<'a> {
    ns: &'a TestNamespace<'a>,
    scope: String,
}

impl<'a> Terminal<'a> {
    fn for_kind(ns: &'a TestNamespace<'a>, kind: &str) -> Self {
        let scope = if kind == "StreamClass" { String::new() } else { format!("--namespace {}", ns.name()) };
        Self { ns, scope }
    }

    /// Runs a line that must succeed and say nothing on stderr.
    async fn run(&self, line: &str) -> String {
        let said = self.shell(line).await;
        assert!(said.status.success(), "{line}: {}{}", said.stdout, said.stderr);
        assert_eq!(said.stderr, "", "{line}");
        said.stdout
    }

    /// Runs a line that must be refused, and gives what it says.
    async fn refused(&self, line: &str) -> String {
        let said = self.shell(line).await;
        assert!(!said.status.success(), "{line}: {}", said.stdout);
        said.stderr
    }

    async fn shell(&self, line: &str) -> KubectlOutput {
        let line = format!("kubectl() {{ command kubectl {} \"$@\"; }}; {line}", self.scope);
        self.ns.fixture().shell(".", &line).await
    }
}

/// Everything that kubectl can do to an object. `edit` changes one word of its spec into another, `bad` gives a merge
/// patch that the webhook refuses at this field.
async fn is_handled(ns: &TestNamespace<'_>, asked: &Asked, it: &Value, edit: (&str, &str), bad: (&str, &str)) {
    let kind = it["kind"].as_str().unwrap();
    let terminal = Terminal::for_kind(ns, kind);
    let what = format!("{} {}", kind.to_lowercase(), it["metadata"]["name"].as_str().unwrap());
    let manifest = it.to_string();
    terminal.run(&format!("echo '{manifest}' | kubectl apply --dry-run=server -f -")).await;
    terminal.run(&format!("echo '{manifest}' | kubectl apply -f -")).await;
    let before = asked.get(it).await.unwrap();
    let again = terminal.run(&format!("echo '{manifest}' | kubectl apply -f -")).await;
    assert!(again.contains("unchanged"), "{again}");
    terminal.run(&format!("echo '{manifest}' | kubectl apply --server-side --force-conflicts -f -")).await;
    terminal.run(&format!("kubectl label {what} team=a")).await;
    terminal.run(&format!("kubectl annotate {what} note=x")).await;
    terminal
        .run(&format!("kubectl patch {what} --type merge -p '{{\"metadata\":{{\"labels\":{{\"b\":\"c\"}}}}}}'"))
        .await;
    let finalizers = r#"[{"op":"add","path":"/metadata/finalizers","value":["example.com/keep"]}]"#;
    terminal.run(&format!("kubectl patch {what} --type json -p '{finalizers}'")).await;
    assert_eq!(asked.get(it).await.unwrap()["spec"], before["spec"], "{what}");

    let (from, to) = edit;
    terminal.run(&format!("EDITOR=\"sed -i s/{from}/{to}/\" kubectl edit {what}")).await;
    assert!(asked.get(it).await.unwrap()["spec"].to_string().contains(to), "{what}");
    // A person, too, has to do it again if the controller has told something of the object in between.
    let replaces = format!("kubectl get {what} -o yaml | sed s/{to}/{from}/ | kubectl replace -f -");
    let until_it_does = format!("for i in 1 2 3 4 5; do said=$({replaces} 2>&1) && exit; done; echo \"$said\"; exit 1");
    terminal.run(&until_it_does).await;
    assert_eq!(asked.get(it).await.unwrap()["spec"], before["spec"], "{what}");

    let (patch, field) = bad;
    for dry_run in ["--dry-run=server", ""] {
        let said = terminal.refused(&format!("kubectl patch {what} {dry_run} --type merge {patch}")).await;
        assert!(said.contains(field), "{said}");
    }
    assert_eq!(asked.get(it).await.unwrap()["spec"], before["spec"], "{what}");

    // It goes when its finalizer goes, whatever the webhook thinks of it.
    terminal.run(&format!("kubectl delete {what} --wait=false")).await;
    terminal.run(&format!("kubectl patch {what} --type merge -p '{{\"metadata\":{{\"finalizers\":null}}}}'")).await;
    assert_eq!(asked.get(it).await, None);
}

#[test]
fn a_stream() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let bad = r#"-p '{"spec":{"jobTemplateRef":{"name":"nowhere"}}}'"#;
        is_handled(ns, &asked, &a_good_stream(), ("before", "after"), (bad, "spec.jobTemplateRef.name")).await;
    });
}

#[test]
fn a_template() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let job =
            json!({"backoffLimit": 3, "template": {"spec": {"containers": [{"name": "main", "image": "plugin"}]}}});
        let bad = r#"-p '{"spec":{"template":{"spec":{"restartPolicy":"Always"}}}}'"#;
        let field = "spec.template.spec.restartPolicy";
        is_handled(ns, &asked, &object("StreamingJobTemplate", "t", job), ("plugin", "another"), (bad, field)).await;
    });
}

#[test]
fn a_class() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let class = class(ns.name(), GROUP, "NobodysStream", json!({"secretRefs": ["password"]}));
        let bad = r#"-p '{"spec":{"apiGroupRef":"nodot"}}'"#;
        is_handled(ns, &asked, &class, ("password", "token"), (bad, "spec.apiGroupRef")).await;
    });
}

#[test]
fn a_backfill_request() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        // One that is over: nothing runs for it, and nobody is told of a delay.
        asked.put(&a_good_stream()).await;
        let spec = json!({"streamClass": "test-streams", "streamId": "orders", "completed": true, "payload": {"from": "before"}});
        let request = object("BackfillRequest", "b", spec);
        // Longer than an argument of a command may be.
        let bad = r#"--patch-file <(printf '{"spec":{"payload":{"from":"%0140000d"}}}' 0)"#;
        is_handled(ns, &asked, &request, ("before", "after"), (bad, "spec.payload")).await;
    });
}

#[test]
fn statuses_are_nobodys_business() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        // The stream's template goes, and its status can be written all the same.
        asked.put(&a_good_stream()).await;
        ns.kubectl(&["delete", "streamingjobtemplate", TEMPLATE]).await;
        let terminal = Terminal::for_kind(ns, "TestStream");
        let what = "teststream orders --subresource=status";
        terminal.run(&format!("kubectl patch {what} --type merge -p '{{\"status\":{{\"note\":\"x\"}}}}'")).await;
        terminal
            .run(&format!(
                "kubectl get {what} -o yaml | sed 's/note: x/note: z/' | kubectl replace --subresource=status -f -"
            ))
            .await;
        assert_eq!(asked.get(&a_good_stream()).await.unwrap()["status"]["note"], "z");
    });
}
