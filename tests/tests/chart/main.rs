//! The chart: what helm renders of it, by those who would read it, and what a release of it leaves in a cluster.

mod certificates;
mod place;
mod prometheus;
mod released;
mod rendered;
mod rights;
mod schemas;
mod takeover;
mod values;
mod world;
