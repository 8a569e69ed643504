module arcane.example/chart-tools/prometheus-operator

go 1.26.0

// What objects for the Prometheus operator must look like: its CustomResourceDefinitions, see ../build.sh.
require github.com/prometheus-operator/prometheus-operator v0.85.0
