//! Everything in one folder, applied by the engines of Flux, Argo CD and Helm: it converges at the first sync, nothing drifts,
//! and its health is the truth.
#![allow(missing_docs)]

mod by_helm;
mod converges;
mod documented;
mod drift;
mod engines;
mod health;
mod kustomize_controller;
mod refused;
mod self_heal;
mod sets;
mod world;
