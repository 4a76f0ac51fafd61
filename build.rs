//! How the extension of the feature `torch` finds libtorch: beside it, in the `torch` package of the same environment. And the files in C++.

fn main() {
    #[cfg(feature = "torch")]
    {
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
        compile(&["src/torch/batch_norm/record.cpp", "src/torch/bridge.cpp"]);
    }
    println!("cargo::rerun-if-changed=build.rs");
}

/// Compiles files against the headers of the libtorch that torch-sys found.
#[cfg(feature = "torch")]
fn compile(files: &[&str]) {
    for file in files {
        println!("cargo::rerun-if-changed={file}");
    }
    println!("cargo::rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    let libraries =
        std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys tells where libtorch is");
    let include = std::path::Path::new(&libraries).with_file_name("include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .flag("-isystem")
        .flag(include)
        .flag_if_supported("-fvisibility=hidden")
        .files(files)
        .compile("cnnzoo_record");
}
