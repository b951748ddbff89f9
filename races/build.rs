//! Switches the primitives of the sources that are built here to those of the model checker.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(pager_shuttle)");
    println!("cargo::rustc-cfg=pager_shuttle");
    println!("cargo::rerun-if-changed=build.rs");
}
