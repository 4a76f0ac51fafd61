//! How the extension module finds libtorch: beside it, in the `torch` package of the same environment.

fn main() {
    if std::env::var_os("CARGO_FEATURE_TORCH").is_some() {
        for argument in [
            "-Wl,-rpath,$ORIGIN/../torch/lib",
            "-Wl,--disable-new-dtags",
            // libtorch.so pulls in CUDA by its own dependencies; no symbol of it is named here, so
            // the linker would drop it.
            "-Wl,--no-as-needed",
            "-ltorch",
            "-Wl,--as-needed",
        ] {
            println!("cargo::rustc-cdylib-link-arg={argument}");
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
}
