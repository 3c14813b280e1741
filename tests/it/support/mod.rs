//! What whole-flow tests are made of. A `World` is a fresh folder with a home,
//! a store and nothing of the developer's shell; `slug(&[…])` in it gives a
//! `Run` to assert on, `up` a supervisor that ends with the test. Servers take
//! a loopback address of their own, so no port is ever fixed or shared.

pub(crate) mod address;
pub(crate) mod apps;
pub(crate) mod buildpack;
pub(crate) mod cnb;
pub(crate) mod faults;
pub(crate) mod front;
pub(crate) mod greeter;
pub(crate) mod http;
pub(crate) mod image;
pub(crate) mod load;
pub(crate) mod oci;
pub(crate) mod package;
pub(crate) mod processes;
pub(crate) mod pty;
pub(crate) mod run;
pub(crate) mod servers;
pub(crate) mod start;
pub(crate) mod tools;
pub(crate) mod traffic;
pub(crate) mod transcript;
pub(crate) mod up;
pub(crate) mod wait;
pub(crate) mod world;
