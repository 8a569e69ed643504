#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use rstest::rstest;

use super::*;

fn pod_template() -> Value {
    json!({
        "metadata": {"labels": {"team": "data"}},
        "spec": {"containers": [{"name": "main", "image": "plugin:1"}]},
    })
}

fn job_spec() -> Value {
    json!({"backoffLimit": 3, "ttlSecondsAfterFinished": 60, "template": pod_template()})
}

fn full_job() -> Value {
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"labels": {"app": "x"}, "annotations": {"note": "y"}},
        "spec": job_spec(),
    })
}

fn legacy() -> Value {
    json!({
        "metadata": {"labels": {"app": "outer", "outer": "yes"}},
        "template": {
            "apiVersion": "batch/v1",
            "kind": "job",
            "metadata": {"labels": {"app": "x"}, "annotations": {"note": "y"}},
            "spec": job_spec(),
        },
    })
}

fn set(mut spec: Value, pointer: &str, value: Value) -> Value {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    spec.pointer_mut(parent).unwrap()[field] = value;
    spec
}

fn violations(spec: &Value) -> Vec<String> {
    let violations = JobTemplate::parse(spec).expect_err("it is refused");
    violations.iter().map(ToString::to_string).collect()
}

fn warnings(spec: &Value) -> Vec<String> {
    let template = JobTemplate::parse(spec).expect("it is taken");
    template.warnings.iter().map(ToString::to_string).collect()
}

#[rstest]
#[case(job_spec(), TemplateShape::JobSpec, &[], &[])]
#[case(full_job(), TemplateShape::Job, &[("app", "x")], &[("note", "y")])]
#[case(legacy(), TemplateShape::Legacy, &[("app", "x"), ("outer", "yes")], &[("note", "y")])]
fn each_shape_is_told_apart_and_gives_the_same_job(
    #[case] spec: Value,
    #[case] shape: TemplateShape,
    #[case] labels: &[(&str, &str)],
    #[case] annotations: &[(&str, &str)],
) {
    let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    };
    let template = JobTemplate::parse(&spec).unwrap();
    assert_eq!(template.shape, shape);
    assert_eq!(template.labels, map(labels));
    assert_eq!(template.annotations, map(annotations));
    assert_eq!(template.ttl_seconds_after_finished, Some(60));
    assert_eq!(
        Value::Object(template.job_spec),
        json!({
            "backoffLimit": 3,
            "template": {
                "metadata": {"labels": {"team": "data"}},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "plugin:1"}]},
            },
        })
    );
    assert_eq!(template.warnings, []);
}

#[rstest]
#[case(job_spec(), "/template/spec")]
#[case(full_job(), "/spec/template/spec")]
#[case(legacy(), "/template/spec/template/spec")]
fn each_shape_is_refused_for_the_same_reasons(#[case] spec: Value, #[case] pod: &str) {
    let path = format!("spec{}", pod.replace('/', "."));
    let at = |field: &str, value: Value| set(spec.clone(), &format!("{pod}/{field}"), value);

    assert_eq!(
        violations(&at("containers", json!([]))),
        [format!("{path}.containers: Required value: a Job needs at least one container")]
    );
    assert_eq!(
        violations(&at("containers", Value::Null)),
        [format!("{path}.containers: Required value: a Job needs at least one container")]
    );
    assert_eq!(
        violations(&at("containers", json!({"name": "main"}))),
        [format!("{path}.containers: Invalid value: \"object\": must be a list")]
    );
    assert_eq!(
        violations(&at("containers", json!(["main"]))),
        [format!("{path}.containers[0]: Invalid value: \"main\": must be an object")]
    );
    assert_eq!(
        violations(&at("restartPolicy", json!("Always"))),
        [format!("{path}.restartPolicy: Unsupported value: \"Always\": supported values: \"Never\", \"OnFailure\"")]
    );
    let sets =
        |name: &str| json!([{"name": "main", "image": "i", "env": [{"name": "A"}, {"name": name, "value": "1"}]}]);
    for (list, name) in [
        ("containers", "STREAMCONTEXT__SPEC"),
        ("containers", "STREAMCONTEXT__ANYTHING"),
        ("initContainers", "STREAMCONTEXT__OVERRIDE"),
    ] {
        assert_eq!(
            violations(&at(list, sets(name))),
            [format!(
                "{path}.{list}[0].env[1].name: Forbidden: {name} is set by the operator for each Job: \
                 remove it from the template"
            )]
        );
    }
}

#[test]
fn a_source_of_variables_must_not_give_them_names_of_ours() {
    let from = |prefix: Value| {
        let sources = json!([{"secretRef": {"name": "a"}}, {"prefix": prefix, "configMapRef": {"name": "b"}}]);
        set(job_spec(), "/template/spec/containers/0/envFrom", sources)
    };
    for prefix in ["STREAMCONTEXT__", "STREAMCONTEXT__SPEC"] {
        assert_eq!(
            violations(&from(json!(prefix))),
            ["spec.template.spec.containers[0].envFrom[1].prefix: Forbidden: variables whose names begin with \
              STREAMCONTEXT__ are set by the operator for each Job: choose another prefix"]
        );
    }
    for prefix in [json!("STREAMCONTEXT_"), json!(""), Value::Null] {
        assert!(warnings(&from(prefix)).is_empty());
    }
}

#[test]
fn an_override_of_the_templates_own_is_told_to_reach_every_job() {
    let env = json!([{"name": "STREAMCONTEXT_SPEC_OVERRIDE", "value": "{}"}]);
    assert_eq!(
        warnings(&set(job_spec(), "/template/spec/containers/0/env", env)),
        ["spec.template.spec.containers[0].env[0].name: Invalid value: \"STREAMCONTEXT_SPEC_OVERRIDE\": every Job of \
          this template gets it as the override of its stream's spec, but for backfills with a payload of their own: \
          remove it unless that is meant"]
    );
}

#[rstest]
#[case(json!(null))]
#[case(json!("job"))]
#[case(json!({}))]
#[case(json!({"template": {}}))]
#[case(json!({"containers": [{"name": "main"}]}))]
#[case(json!({"template": {"containers": [{"name": "main"}]}}))]
#[case(json!({"template": [1], "spec": "x"}))]
fn what_has_none_of_the_shapes_is_told_the_three(#[case] spec: Value) {
    assert_eq!(
        violations(&spec),
        ["spec: Required value: no Job is found here: its containers must be at spec.template.spec.containers \
          (the spec of a Job), spec.spec.template.spec.containers (a whole Job) or \
          spec.template.spec.template.spec.containers (a whole Job below template)"]
    );
}

#[test]
fn containers_in_two_places_are_refused() {
    let mut spec = full_job();
    spec["template"] = pod_template();
    assert_eq!(
        violations(&spec),
        ["spec: Invalid value: \"object\": has containers in more than one place (spec.template.spec.containers \
          and spec.spec.template.spec.containers): keep one"]
    );
}

#[test]
fn all_violations_are_said_at_once() {
    let spec = json!({
        "ttlSecondsAfterFinished": "1d",
        "template": {
            "metadata": {"labels": {"version": 2}},
            "spec": {
                "restartPolicy": "Always",
                "containers": [{"name": 7, "image": true, "env": {"A": "b"}, "envFrom": "secret"}],
                "initContainers": [{"image": "i", "env": ["A", {}, {"name": 3}]}],
            },
        },
    });
    assert_eq!(
        violations(&spec),
        [
            "spec.ttlSecondsAfterFinished: Invalid value: \"1d\": must be a whole number of seconds from 0 on",
            "spec.template.metadata.labels[version]: Invalid value: \"2\": must be a string (put it in quotes)",
            "spec.template.spec.restartPolicy: Unsupported value: \"Always\": supported values: \"Never\", \"OnFailure\"",
            "spec.template.spec.containers[0].name: Invalid value: \"7\": must be a string",
            "spec.template.spec.containers[0].image: Invalid value: \"true\": must be a string",
            "spec.template.spec.containers[0].envFrom: Invalid value: \"secret\": must be a list",
            "spec.template.spec.containers[0].env: Invalid value: \"object\": must be a list",
            "spec.template.spec.initContainers[0].env[0]: Invalid value: \"A\": must be an object",
            "spec.template.spec.initContainers[0].env[1].name: Required value: an environment variable needs a name",
            "spec.template.spec.initContainers[0].env[2].name: Invalid value: \"3\": must be a string",
        ]
    );
}

#[test]
fn misplaced_fields_warn_and_say_where_they_belong() {
    let policy = json!({"rules": []});
    assert_eq!(
        warnings(&set(full_job(), "/podFailurePolicy", policy.clone())),
        ["spec.podFailurePolicy: Ignored: it belongs into the spec of the Job, spec.spec.podFailurePolicy"]
    );
    assert_eq!(
        warnings(&set(legacy(), "/template/podFailurePolicy", policy)),
        ["spec.template.podFailurePolicy: Ignored: it belongs into the spec of the Job, \
          spec.template.spec.podFailurePolicy"]
    );
    assert_eq!(
        warnings(&set(legacy(), "/colour", json!("blue"))),
        ["spec.colour: Ignored: the spec of the Job is spec.template.spec"]
    );
    assert_eq!(
        warnings(&set(full_job(), "/kind", json!("CronJob"))),
        ["spec.kind: Invalid value: \"CronJob\": ignored, templates are Jobs"]
    );
    assert_eq!(
        warnings(&set(full_job(), "/metadata/name", json!("n"))),
        ["spec.metadata.name: Ignored: of a template's metadata only labels and annotations are used"]
    );
    assert_eq!(
        warnings(&set(job_spec(), "/metadata", json!({}))),
        [
            "spec.metadata: Unknown field: the spec of a Job has none of this name; it has no effect unless Kubernetes knows it"
        ]
    );
    assert_eq!(
        warnings(&set(job_spec(), "/template/nodeSelector", json!({}))),
        [
            "spec.template.nodeSelector: Unknown field: the template of a Job's pods has none of this name; it has no effect \
          unless Kubernetes knows it"
        ]
    );
    assert!(warnings(&set(full_job(), "/metadata/creationTimestamp", Value::Null)).is_empty());
}

#[test]
fn what_kubernetes_may_know_and_we_dont_stays_in_the_job() {
    let template = JobTemplate::parse(&set(job_spec(), "/fieldOfNextYear", json!(1))).unwrap();
    assert_eq!(template.job_spec["fieldOfNextYear"], 1);
}

#[test]
fn containers_without_an_image_are_named() {
    let mut spec = job_spec();
    spec["template"]["spec"]["containers"] =
        json!([{"name": "a"}, {"name": "b", "image": ""}, {"name": "c", "image": "i"}, {}]);
    spec["template"]["spec"]["initContainers"] = json!([{"name": "init", "image": null}]);
    let template = JobTemplate::parse(&spec).unwrap();
    assert_eq!(template.containers_without_image(), ["a", "b", "containers[3]", "init"]);
    let warnings: Vec<String> = template.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 4);
    assert_eq!(
        warnings[0],
        "spec.template.spec.containers[0].image: Required value: container a has no image: \
         streams with this template wait until it has one"
    );
}

#[test]
fn a_restart_policy_that_jobs_allow_is_kept() {
    let template = JobTemplate::parse(&set(job_spec(), "/template/spec/restartPolicy", json!("OnFailure"))).unwrap();
    assert_eq!(template.job_spec["template"]["spec"]["restartPolicy"], "OnFailure");
    for absent in [Value::Null, json!("")] {
        let template = JobTemplate::parse(&set(job_spec(), "/template/spec/restartPolicy", absent)).unwrap();
        assert_eq!(template.job_spec["template"]["spec"]["restartPolicy"], "Never");
    }
}

#[test]
fn words_that_kubernetes_fills_in_may_be_empty() {
    let mut spec = job_spec();
    let pod = &mut spec["template"]["spec"];
    pod["restartPolicy"] = json!("");
    pod["dnsPolicy"] = json!("");
    pod["containers"][0]["imagePullPolicy"] = json!("");
    pod["containers"][0]["terminationMessagePolicy"] = json!("");
    pod["containers"][0]["ports"] = json!([{"containerPort": 80, "protocol": ""}]);
    let template = JobTemplate::judge(&spec).unwrap();
    assert_eq!(template.warnings, []);
    // They are as they were but for what Kubernetes would fill in otherwise.
    spec["template"]["spec"]["restartPolicy"] = json!("Never");
    spec.as_object_mut().unwrap().remove("ttlSecondsAfterFinished");
    assert_eq!(Value::Object(template.job_spec), spec);
}

#[rstest]
#[case(json!(0), Some(0))]
#[case(json!(86400), Some(86400))]
#[case(json!(null), None)]
fn the_ttl_is_taken_out_of_the_spec(#[case] value: Value, #[case] expected: Option<i64>) {
    let template = JobTemplate::parse(&set(job_spec(), "/ttlSecondsAfterFinished", value)).unwrap();
    assert_eq!(template.ttl_seconds_after_finished, expected);
    assert!(!template.job_spec.contains_key("ttlSecondsAfterFinished"));
}

#[test]
fn the_hash_follows_what_a_job_depends_on_and_nothing_else() {
    let hash = |spec: &Value, refs: &[&str]| {
        let refs: Vec<String> = refs.iter().map(|name| (*name).to_owned()).collect();
        template_hash(&JobTemplate::parse(spec).unwrap(), &refs)
    };
    let base = hash(&job_spec(), &["a"]);
    assert_eq!(base.len(), 16);
    let bare_job = json!({"spec": job_spec()});
    assert_eq!(hash(&bare_job, &["a"]), base, "another shape");
    assert_eq!(hash(&set(job_spec(), "/ttlSecondsAfterFinished", json!(1)), &["a"]), base, "another TTL");
    assert_eq!(
        hash(&set(job_spec(), "/template/spec/restartPolicy", json!("Never")), &["a"]),
        base,
        "a default spelt out"
    );
    assert_ne!(hash(&job_spec(), &["a", "b"]), base, "another secret");
    assert_ne!(hash(&set(job_spec(), "/backoffLimit", json!(4)), &["a"]), base, "another limit");
    assert_ne!(hash(&full_job(), &["a"]), base, "labels");
}

#[rstest]
#[case(job_spec(), "/template/spec")]
#[case(full_job(), "/spec/template/spec")]
#[case(legacy(), "/template/spec/template/spec")]
fn each_shape_is_judged_by_the_schema_of_a_job(#[case] spec: Value, #[case] pod: &str) {
    assert!(JobTemplate::judge(&spec).unwrap().warnings.is_empty());
    let path = format!("spec{}", pod.replace('/', "."));
    let wrong = set(spec.clone(), &format!("{pod}/containers/0/imagePullPolicy"), json!(1));
    let violations = JobTemplate::judge(&wrong).unwrap_err();
    assert_eq!(violations[0].path.to_string(), format!("{path}.containers[0].imagePullPolicy"));
    let unknown = set(spec, &format!("{pod}/hostname_"), json!("h"));
    let warnings = JobTemplate::judge(&unknown).unwrap().warnings;
    assert_eq!(warnings[0].path.to_string(), format!("{path}.hostname_"));
}

#[test]
fn what_is_said_in_our_words_is_not_said_again() {
    let spec = set(job_spec(), "/template/spec/containers/0/name", json!(7));
    let spec = set(spec, "/ttlSecondsAfterFinished", json!("1d"));
    let spec = set(spec, "/backoffLimit", json!("3"));
    let paths: Vec<String> =
        JobTemplate::judge(&spec).unwrap_err().iter().map(|violation| violation.path.to_string()).collect();
    assert_eq!(paths, ["spec.ttlSecondsAfterFinished", "spec.template.spec.containers[0].name", "spec.backoffLimit"]);
}

#[test]
fn more_than_one_pod_and_a_suspended_job_are_warned_of() {
    let warned = |field: &str, value: Value| -> Vec<String> {
        let template = JobTemplate::parse(&set(job_spec(), field, value)).unwrap();
        template.warnings.iter().map(|warning| warning.path.to_string()).collect()
    };
    assert_eq!(warned("/parallelism", json!(2)), ["spec.parallelism"]);
    assert_eq!(warned("/suspend", json!(true)), ["spec.suspend"]);
    assert!(warned("/parallelism", json!(1)).is_empty() && warned("/suspend", json!(false)).is_empty());
}

#[test]
fn a_template_of_very_many_values_is_refused_without_a_look() {
    let spec = |count: usize| {
        let variables = vec![json!({"name": "A", "value": "b"}); count];
        json!({"template": {"spec": {"containers": [{"name": "c", "image": "i:1", "env": variables}]}}})
    };
    assert!(JobTemplate::judge(&spec(3300)).is_ok());
    let violations = JobTemplate::judge(&spec(3400)).unwrap_err();
    assert_eq!(violations.len(), 1);
    assert!(violations[0].to_string().starts_with("spec: Too long: more than 10000 fields and elements"));
}

#[test]
fn of_very_many_mistakes_the_first_are_enough() {
    let spec = json!({"template": {"spec": {"containers": [{"name": "c", "env": vec![json!({}); 2000]}]}}});
    assert_eq!(JobTemplate::parse(&spec).unwrap_err().len(), MOST_VIOLATIONS);
    let spec = json!({"template": {"spec": {"containers": vec![json!({"name": "c"}); 2000]}}});
    assert_eq!(JobTemplate::parse(&spec).unwrap().warnings.len(), MOST_VIOLATIONS);
}
