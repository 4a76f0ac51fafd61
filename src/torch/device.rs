//! Devices by name.

use tch::{Cuda, Device};

use crate::error::{Error, Result};

/// `cpu`, `cuda` or `cuda:N`. Fails with `Error::Device` where there is no such device.
pub fn device(name: &str) -> Result<Device> {
    let fail = |expected: &str, got: String| {
        Err(Error::Device { device: name.to_owned(), expected: expected.to_owned(), got })
    };
    let index = match name.split_once(':') {
        _ if name == "cpu" => return Ok(Device::Cpu),
        _ if name == "cuda" => Some(0),
        Some(("cuda", index)) => index.parse::<usize>().ok(),
        _ => None,
    };
    let Some(index) = index else { return fail("`cpu`, `cuda` or `cuda:N`", format!("`{name}`")) };
    let count = usize::try_from(Cuda::device_count()).unwrap_or(0);
    if index < count {
        Ok(Device::Cuda(index))
    } else {
        fail("a device that libtorch sees", format!("{count} CUDA devices"))
    }
}

/// The name that `device` takes: `cpu` or `cuda:N`.
pub fn device_name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_owned(),
    }
}
