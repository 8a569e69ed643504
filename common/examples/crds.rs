//! Prints the CustomResourceDefinitions of our kinds as YAML.

fn main() {
    print!("{}", arcane_common::api::crds_yaml());
}
