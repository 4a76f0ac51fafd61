//! The files of an export: one, or one with the operators and one with the arrays. They appear whole, or not at all.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::content::{Content, Initialiser};
use super::lower::lower;
use super::network::Size;
use super::options::Options;
use super::proto::{Place, model};
use super::protobuf::Piece;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::weights::{Parameters, Replacement};

/// The largest message that readers of protocol buffers take.
const LARGEST: usize = i32::MAX as usize;

/// Arrays beside the operators lie at multiples of a page, so that readers can map them; smaller ones stay inside.
const PAGE: usize = 4096;

/// The files that were written.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The file of the operators, then that of the arrays, if there is one.
    pub files: Vec<PathBuf>,
    /// The shape of the input.
    pub input: Vec<Size>,
    /// The shape of the output.
    pub output: Vec<Size>,
}

/// Writes a graph with its parameters to `path`, and the arrays to a file beside it, whose name has `.data` after it, where
/// that is asked for or one file would be too large. Arrays are read one at a time. `before` is called before each array
/// with the number of bytes that are written, and of all; its error ends the work, and leaves old files as they were.
///
/// # Errors
/// [`Error::Argument`] for options out of their range, [`Error::Shape`] for images that the graph does not fit, and
/// [`Error::WeightsFile`] where writing fails.
pub fn export(
    graph: &Graph,
    parameters: &dyn Parameters,
    options: &Options,
    path: &Path,
    before: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<Exported> {
    let format = options.format()?;
    let network = lower(graph, parameters, options)?;
    let arrays = &network.initialisers;
    let inside = vec![Place::Inside; arrays.len()];
    let mut message = model(&network, options, format, &inside, "");
    let mut writing = Writing {
        arrays,
        parameters,
        done: 0,
        all: arrays.iter().map(Initialiser::length).sum(),
        before,
    };
    let beside = match options.external {
        Some(false) if message.length() > LARGEST => {
            return Err(Error::Argument {
                at: format!("`external` of {}", graph.name()),
                expected: format!("True or None, since one file has at most {LARGEST} bytes"),
                got: format!("False, for {} bytes", message.length()),
            });
        }
        Some(external) => external,
        None => message.length() > LARGEST,
    };
    let mut finished = Vec::new();
    if beside {
        let data = beside_of(path)?;
        let places = places(arrays);
        message = model(&network, options, format, &places, &name_of(&data)?);
        finished.push((writing.beside(&data, &places)?, data));
    }
    finished.push((writing.message(path, message.pieces())?, path.to_owned()));
    let mut files = Vec::new();
    for (file, path) in finished {
        file.rename().map_err(|source| Error::WeightsFile { path: path.clone(), source })?;
        files.push(path);
    }
    files.reverse();
    Ok(Exported { files, input: network.input.sizes, output: network.output.sizes })
}

/// The path of the file with the arrays.
fn beside_of(path: &Path) -> Result<PathBuf> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    if name.is_empty() {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file");
        return Err(Error::WeightsFile { path: path.to_owned(), source });
    }
    name.push(".data");
    Ok(path.with_file_name(name))
}

/// The name of a file as it stands in another one.
fn name_of(path: &Path) -> Result<String> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or_else(|| Error::Argument {
        at: "the name of the file".into(),
        expected: "UTF-8, for arrays in a second file".into(),
        got: format!("{}", path.display()),
    })
}

fn places(arrays: &[Initialiser]) -> Vec<Place> {
    let mut end = 0_usize;
    let place = |array: &Initialiser| {
        let is_constant = matches!(array.content, Content::Floats(_) | Content::Integers(_));
        if is_constant || array.length() < PAGE {
            return Place::Inside;
        }
        let begin = end.next_multiple_of(PAGE);
        end = begin + array.length();
        Place::Beside(begin)
    };
    arrays.iter().map(place).collect()
}

/// Arrays on their way into files.
struct Writing<'a> {
    arrays: &'a [Initialiser],
    parameters: &'a dyn Parameters,
    done: usize,
    all: usize,
    before: &'a mut dyn FnMut(usize, usize) -> Result<()>,
}

impl Writing<'_> {
    /// A link would be replaced at its end, where onnx and onnxruntime read no arrays.
    fn beside(&mut self, path: &Path, places: &[Place]) -> Result<crate::weights::Replaced> {
        let failed = |source| Error::WeightsFile { path: path.to_owned(), source };
        if path.symlink_metadata().is_ok_and(|of| of.file_type().is_symlink()) {
            let message = "expected a regular file for the arrays, got a symbolic link, which readers of ONNX refuse";
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, message)));
        }
        let mut file = Replacement::begin(path).map_err(failed)?;
        let mut end = 0;
        for (number, &place) in places.iter().enumerate() {
            let Place::Beside(begin) = place else { continue };
            file.write_all(&[0; PAGE][..begin - end]).map_err(failed)?;
            self.array(number, &mut file)?.map_err(failed)?;
            end = begin + self.arrays[number].length();
        }
        file.finish().map_err(failed)
    }

    fn message(&mut self, path: &Path, pieces: &[Piece]) -> Result<crate::weights::Replaced> {
        let failed = |source| Error::WeightsFile { path: path.to_owned(), source };
        let mut file = Replacement::begin(path).map_err(failed)?;
        for piece in pieces {
            match piece {
                Piece::Bytes(bytes) => file.write_all(bytes),
                Piece::Content { number, .. } => self.array(*number, &mut file)?,
            }
            .map_err(failed)?;
        }
        file.finish().map_err(failed)
    }

    fn array(&mut self, number: usize, out: &mut dyn Write) -> Result<io::Result<()>> {
        (self.before)(self.done, self.all)?;
        let array = &self.arrays[number];
        self.done += array.length();
        array.write(self.parameters, out)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::options::Image;
    use super::*;
    use crate::weights::PlainMemory;
    use crate::weights::init::Recipe;

    fn array(length: usize, content: Content) -> Initialiser {
        Initialiser { name: "a".into(), shape: vec![length / 4], content }
    }

    #[test]
    fn large_arrays_begin_at_a_page() {
        let arrays = [
            array(PAGE, Content::Parameter(0)),
            array(PAGE - 4, Content::Parameter(1)),
            array(PAGE + 4, Content::Scaled { index: 2, factors: Vec::new() }),
            array(2 * PAGE, Content::Floats(Vec::new())),
            array(PAGE, Content::Parameter(3)),
        ];
        let beside = [0, PAGE, 3 * PAGE].map(Place::Beside);
        let [first, second, third] = beside;
        assert_eq!(places(&arrays), [first, Place::Inside, second, Place::Inside, third]);
    }

    /// The files that a folder has after an export whose error comes before so many arrays.
    fn after(arrays: usize, external: bool) -> (bool, Vec<usize>) {
        let graph: Graph = include_str!("../../tests/weights/tiny.txt").parse().unwrap();
        let parameters = PlainMemory::new(&graph, Recipe::RESNET, 1).unwrap();
        let image = graph.input();
        let options = Options {
            batch: None,
            image: Image::Fixed { height: image.height, width: image.width },
            opset: 20,
            normalize: None,
            fold: false,
            external: Some(external),
            names: ["images", "logits"].map(String::from),
            metadata: BTreeMap::new(),
        };
        let name = format!("cnnzoo-onnx-{}-{arrays}-{external}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        let mut left = arrays;
        let written = export(&graph, &parameters, &options, &folder.join("m.onnx"), &mut |_, _| {
            left = left
                .checked_sub(1)
                .ok_or_else(|| Error::Defect { at: "a test".into(), message: "planted".into() })?;
            Ok(())
        });
        let files = std::fs::read_dir(&folder).unwrap();
        let sizes = files.map(|file| file.unwrap().metadata().unwrap().len() as usize).collect();
        std::fs::remove_dir_all(&folder).unwrap();
        (written.is_ok(), sizes)
    }

    #[test]
    fn files_appear_whole_or_not_at_all() {
        for external in [false, true] {
            for arrays in 0..3 {
                assert_eq!(after(arrays, external), (false, Vec::new()));
            }
            let (is_ok, sizes) = after(usize::MAX, external);
            assert!(is_ok);
            assert_eq!(sizes.len(), if external { 2 } else { 1 });
        }
    }
}
