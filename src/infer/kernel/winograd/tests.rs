#![allow(clippy::print_stdout, reason = "measurements print")]

use std::sync::Arc;
use std::time::Instant;

use super::super::super::form::Form;
use super::super::super::layout::{Layout, Window};
use super::super::super::memory::{Buffer, zeros};
use super::super::super::simd::{Element, Instructions, pair};
use super::super::conv::Conv;
use super::super::tests::POOL;
use super::*;
use crate::graph::op::{Function, Padding, Pair};

/// Numbers that look random, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        self.0 >> 33
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Nearly normal numbers.
    fn normal(&mut self) -> f32 {
        let uniform = |number: u64| number as f64 / (1_u64 << 31) as f64;
        ((0..12).map(|_| uniform(self.next())).sum::<f64>() - 6.0) as f32
    }

    fn normals(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.normal()).collect()
    }
}

/// The largest error of an output for normal inputs and weights of up to 64 input channels, relative to the largest output.
fn tolerance(tile: Tile) -> f64 {
    match tile.points() {
        6 | 16 => 1.5e-6,
        10 | 36 => 6e-6,
        _ => 2e-5,
    }
}

/// A window that the tile is for, and its stride.
fn window_of(tile: Tile) -> (Pair, usize) {
    let stride = if tile == Tile::square(5, 4) { 2 } else { 1 };
    let side = |taps: usize| if stride == 1 { taps } else { stride * taps - 1 };
    (Pair { height: side(tile.rows.taps), width: side(tile.columns.taps) }, stride)
}

/// A convolution with all that a run of it reads.
struct Case {
    conv: Winograd,
    batch: usize,
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    residual: Option<(Vec<f32>, Layout)>,
    /// The form of the residual.
    form: Form,
}

/// The number between the pixels of an output, which bfloat16 has too.
const UNTOUCHED: f32 = 12352.0;

/// Numbers as they lie in a form.
fn packed(form: Form, numbers: &[f32]) -> Vec<f32> {
    match form {
        Form::BFloat16 => {
            let words = numbers.chunks(2);
            words.map(|two| pair(two[0], two.get(1).copied().unwrap_or(UNTOUCHED))).collect()
        }
        Form::Float32 | Form::Byte(_) => numbers.to_vec(),
    }
}

/// So many numbers of a form.
fn unpacked(form: Form, words: &[f32], count: usize) -> Vec<f32> {
    let halves =
        |word: &f32| [word.to_bits() << 16, word.to_bits() & 0xffff_0000].map(f32::from_bits);
    match form {
        Form::BFloat16 => words.iter().flat_map(halves).take(count).collect(),
        Form::Float32 | Form::Byte(_) => words.to_vec(),
    }
}

impl Case {
    fn new(
        numbers: &mut Numbers,
        (instructions, tile): (Instructions, Tile),
        (batch, height, width): (usize, usize, usize),
        (inputs, outputs): (usize, usize),
        border: [usize; 4],
        gaps: bool,
    ) -> Self {
        let [top, bottom, left, right] = border;
        let (kernel, stride) = window_of(tile);
        let window = Window {
            top,
            bottom,
            left,
            right,
            ..Window::new((kernel, stride.into(), Pair::ONE), Padding::from(0), (height, width))
        };
        let mut spread = |layout: Layout| {
            let pixel = layout.channels + if gaps { numbers.below(9) } else { 0 };
            let image = layout.pixels() * pixel + if gaps { numbers.below(20) } else { 0 };
            Layout { pixel, image, ..layout }
        };
        let rows = (height + top + bottom - kernel.height) / stride + 1;
        let columns = (width + left + right - kernel.width) / stride + 1;
        let input = spread(Layout::dense(height, width, inputs));
        let output = spread(Layout::dense(rows, columns, outputs));
        let other = spread(Layout::dense(rows, columns, outputs));
        // The numbers between the pixels must not be read.
        let values = |numbers: &mut Numbers, layout: Layout| {
            let mut values = vec![f32::NAN; layout.extent(batch)];
            for (image, pixel) in
                (0..batch * layout.pixels()).map(|at| (at / layout.pixels(), at % layout.pixels()))
            {
                let at = layout.at(image, 0, 0) + pixel * layout.pixel;
                values[at..at + layout.channels].fill_with(|| numbers.normal());
            }
            values
        };
        let x = values(numbers, input);
        let residual = (numbers.below(2) == 1).then(|| (values(numbers, other), other));
        let (weight, bias) = (
            numbers.normals(outputs * inputs * kernel.height * kernel.width),
            numbers.normals(outputs),
        );
        let weights = Transformed::pack(
            &POOL,
            (instructions, Element::Float32),
            (tile, &window),
            (outputs, inputs),
            (&weight, &bias),
        );
        let weights = Arc::new(weights.unwrap());
        let forms = Form::FLOATS;
        let conv = Winograd { input, output, window, weights, function: None, forms };
        Self { conv, batch, x, weight, bias, residual, form: Form::Float32 }
    }

    /// The same, where products are of pairs of bfloat16.
    fn with_pairs(mut self) -> Self {
        let Winograd { input, output, window, ref weights, .. } = self.conv;
        let packed = Transformed::pack(
            &POOL,
            (weights.instructions, Element::BFloat16),
            (weights.tile, &window),
            (output.channels, input.channels),
            (&self.weight, &self.bias),
        );
        self.conv.weights = Arc::new(packed.unwrap());
        self
    }

    fn run(&self, pool: &Pool, division: Option<Division>) -> Vec<f32> {
        let Self { conv, batch, .. } = self;
        let count = conv.output.extent(*batch);
        let (read, written) = conv.forms;
        let (x, mut y) = (packed(read, &self.x), packed(written, &vec![UNTOUCHED; count]));
        let division = division.unwrap_or_else(|| conv.division(*batch));
        let mut scratch = vec![f32::NAN; conv.scratch_divided(division, *batch)];
        let form = self.form;
        let added = self.residual.as_ref().map(|(values, layout)| (packed(form, values), *layout));
        let residual = added.as_ref().map(|(values, layout)| Residual {
            source: Source::from(&values[..]),
            layout: *layout,
            form,
        });
        let numbers = (Source::from(&x[..]), Target::from(&mut y[..]), residual);
        conv.run_divided(division, pool, *batch, numbers, Target::from(&mut scratch[..])).unwrap();
        unpacked(written, &y, count)
    }

    /// The sum of an output without its activation, in float64.
    fn exact(&self, image: usize, row: usize, column: usize, output: usize) -> f64 {
        let Self { conv, .. } = self;
        let mut sum = f64::from(self.bias[output]);
        let Pair { height, width } = conv.window.kernel;
        for tap in 0..height * width {
            let (stride, taps) = (conv.window.stride, height * width);
            let y = (row * stride.height + tap / width).wrapping_sub(conv.window.top);
            let x = (column * stride.width + tap % width).wrapping_sub(conv.window.left);
            if y < conv.input.height && x < conv.input.width {
                let from = conv.input.at(image, y, x);
                for input in 0..conv.input.channels {
                    let weight = self.weight[(output * conv.input.channels + input) * taps + tap];
                    sum += f64::from(self.x[from + input]) * f64::from(weight);
                }
            }
        }
        if let Some((values, layout)) = &self.residual {
            sum += f64::from(values[layout.at(image, row, column) + output]);
        }
        sum
    }

    /// Compares outputs with exact ones; returns the root of the mean square error and the largest error, relative to the
    /// largest output.
    fn errors(&self, y: &[f32]) -> (f64, f64) {
        let layout = self.conv.output;
        let (mut squares, mut most, mut largest, mut count) = (0.0, 0.0_f64, 1e-3_f64, 0);
        let mut written = vec![false; y.len()];
        for image in 0..self.batch {
            for pixel in 0..layout.pixels() {
                let (row, column) = (pixel / layout.width, pixel % layout.width);
                for output in 0..layout.channels {
                    let at = layout.at(image, row, column) + output;
                    written[at] = true;
                    let sum = self.exact(image, row, column, output);
                    let expected = self.conv.function.map_or(sum, |function| plain(function, sum));
                    let error = (f64::from(y[at]) - expected).abs();
                    assert!(error.is_finite(), "{:?}", self.conv);
                    squares += error * error;
                    most = most.max(error);
                    largest = largest.max(sum.abs());
                    count += 1;
                }
            }
        }
        for (number, written) in y.iter().zip(written) {
            assert!(written || *number == UNTOUCHED, "{:?}", self.conv);
        }
        ((squares / f64::from(count)).sqrt() / largest, most / largest)
    }
}

fn plain(function: Function, x: f64) -> f64 {
    match function {
        Function::Relu => x.max(0.0),
        Function::Relu6 => x.clamp(0.0, 6.0),
        Function::Silu => x / (1.0 + (-x).exp()),
        Function::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        _ => f64::NAN,
    }
}

#[test]
fn any_shape_equals_a_plain_loop() {
    let mut numbers = Numbers(3);
    let pool = Pool::new(2);
    for instructions in Instructions::available() {
        for (tile, _) in Tile::ALL {
            let mut worst = 0.0_f64;
            for _ in 0..60 {
                let batch = 1 + numbers.below(9);
                let (height, width) = (1 + numbers.below(16), 1 + numbers.below(16));
                let channels = (
                    numbers.one_of(&[1, 2, 3, 5, 7, 8, 9, 16, 17, 24, 31, 64]),
                    numbers.one_of(&[1, 3, 7, 8, 9, 15, 16, 17, 24, 31, 40, 65, 100]),
                );
                // An image of one pixel needs a border.
                let mut border = [0; 4].map(|_| numbers.below(5));
                let (kernel, _) = window_of(tile);
                border[0] += kernel.height.saturating_sub(height + border[0] + border[1]);
                border[2] += kernel.width.saturating_sub(width + border[2] + border[3]);
                let size = (batch, height, width);
                let kind = (instructions, tile);
                let mut case = Case::new(&mut numbers, kind, size, channels, border, true);
                case.conv.function = numbers.one_of(&[
                    None,
                    Some(Function::Relu),
                    Some(Function::Relu6),
                    Some(Function::Silu),
                    Some(Function::HardSwish),
                ]);
                let (_, most) = case.errors(&case.run(&pool, None));
                assert!(most < tolerance(tile), "{tile} {most:e} {size:?} {channels:?}");
                worst = worst.max(most);
            }
            println!("{instructions:?} {tile} {worst:.1e}");
        }
    }
}

#[test]
fn values_and_products_of_bfloat16_equal_a_plain_loop() {
    /// The largest error of an output, relative to the largest output: bfloat16 has 8 bits. The transforms of products of
    /// it add up to 4 rounded numbers in each direction.
    const VALUES: f64 = 4e-3;
    const PRODUCTS: f64 = 2e-2;
    let mut numbers = Numbers(13);
    let pool = Pool::new(2);
    let all = Instructions::available().into_iter();
    for instructions in all.filter_map(|of| of.multiplying(Element::BFloat16)) {
        for (tile, _) in Tile::ALL.into_iter().filter(|(tile, _)| window_of(*tile).1 == 1) {
            for round in 0..40 {
                let size = (1 + numbers.below(3), 7 + numbers.below(9), 7 + numbers.below(9));
                let channels = (
                    numbers.one_of(&[2, 6, 8, 14, 16, 18, 30, 64]),
                    numbers.one_of(&[2, 6, 8, 14, 16, 18, 30, 66]),
                );
                let border = [0; 4].map(|_| numbers.below(3));
                let kind = (instructions, tile);
                let mut case = Case::new(&mut numbers, kind, size, channels, border, false);
                let pairs = tile == Tile::square(2, 3) && round % 2 == 0;
                if pairs {
                    case = case.with_pairs();
                }
                let forms = [Form::Float32, Form::BFloat16];
                case.conv.forms = (numbers.one_of(&forms), numbers.one_of(&forms));
                case.form = numbers.one_of(&forms);
                // What the forms cannot hold is no error of the algorithm.
                let rounded = |of: &mut Vec<f32>, form| {
                    let count = of.len();
                    *of = unpacked(form, &packed(form, of), count);
                };
                rounded(&mut case.x, case.conv.forms.0);
                if let Some((values, _)) = &mut case.residual {
                    rounded(values, case.form);
                }
                case.conv.function = numbers.one_of(&[None, Some(Function::Relu)]);
                let (_, most) = case.errors(&case.run(&pool, None));
                let tolerance = if pairs {
                    PRODUCTS
                } else if case.conv.forms.1 == Form::BFloat16 {
                    VALUES
                } else {
                    tolerance(tile)
                };
                assert!(most < tolerance, "{tile} {most:e} {size:?} {channels:?} {pairs}");
            }
        }
    }
}

/// Where products are of bfloat16, the errors are at most as many times those of the direct convolution of bfloat16.
#[test]
fn pairs_are_about_as_accurate_as_those_of_the_direct_convolution() {
    const TIMES: f64 = 2.0;
    let mut numbers = Numbers(17);
    let pool = Pool::new(2);
    let all = Instructions::available().into_iter();
    for instructions in all.filter_map(|of| of.multiplying(Element::BFloat16)) {
        for inputs in [64, 512] {
            let kind = (instructions, Tile::square(2, 3));
            let mut case = Case::new(&mut numbers, kind, (1, 12, 12), (inputs, 16), [1; 4], false);
            // As after an activation.
            case.x.iter_mut().for_each(|number| *number = number.max(0.0));
            case.residual = None;
            let case = case.with_pairs();
            let (tiles, _) = case.errors(&case.run(&pool, None));
            let (conv, mut y) = (direct(&case), vec![0.0; case.conv.output.extent(1)]);
            let mut scratch = vec![0.0; conv.scratch(1)];
            let (y_, scratch) = (Target::from(&mut y[..]), Target::from(&mut scratch[..]));
            conv.run(&pool, 1, Source::from(&case.x[..]), y_, None, scratch).unwrap();
            let (plain, _) = case.errors(&y);
            println!("{instructions:?} {inputs}: {tiles:.2e}, direct {plain:.2e}");
            assert!(plain > 1e-4 && tiles < TIMES * plain, "{tiles:e} {plain:e}");
        }
    }
}

#[test]
fn errors_are_those_that_are_stated() {
    let mut numbers = Numbers(5);
    let pool = Pool::new(2);
    for instructions in Instructions::available() {
        for (tile, stated) in Tile::ALL {
            for (at, inputs) in [64, 512].into_iter().enumerate() {
                let size = (1, 12, 12);
                let kind = (instructions, tile);
                let mut case = Case::new(&mut numbers, kind, size, (inputs, 16), [1; 4], false);
                // As after an activation.
                case.x.iter_mut().for_each(|number| *number = number.max(0.0));
                let (mean, most) = case.errors(&case.run(&pool, None));
                println!("{instructions:?} {tile} {inputs} rms {mean:.2e} most {most:.2e}");
                // The largest output, to which they are relative, is one of few.
                assert!(mean < 2.0 * stated.rms[at] && most < 2.5 * stated.most[at]);
                let (conv, mut y) = (direct(&case), vec![0.0; case.conv.output.extent(1)]);
                let mut scratch = vec![0.0; conv.scratch(1)];
                let (y_, scratch) = (Target::from(&mut y[..]), Target::from(&mut scratch[..]));
                conv.run(&pool, 1, Source::from(&case.x[..]), y_, None, scratch).unwrap();
                case.residual = None;
                let (mean, _) = case.errors(&y);
                println!("{instructions:?} direct, as {tile} {inputs} rms {mean:.2e}");
                assert!((0.7..1.5).contains(&(mean / stated.direct[at])));
            }
        }
    }
}

/// The direct convolution of a case.
fn direct(case: &Case) -> Conv {
    let Winograd { input, output, window, ref weights, function, .. } = case.conv;
    let size = (output.channels, input.channels, 1);
    let groups = Conv::pack(
        &POOL,
        (weights.instructions, weights.element),
        size,
        &window,
        (&case.weight, &case.bias),
    );
    Conv {
        input,
        output,
        window,
        groups: Arc::new(groups.unwrap()),
        function,
        forms: Form::FLOATS,
        bytes: None,
        is_bordered: false,
    }
}

#[test]
fn results_depend_neither_on_the_batch_nor_on_the_division() {
    let mut numbers = Numbers(7);
    let pools = [Pool::new(1), Pool::new(2), Pool::new(5)];
    for instructions in Instructions::available() {
        for (tile, _) in Tile::ALL {
            for (size, channels) in [((9, 7, 9), (20, 37)), ((3, 29, 30), (9, 16))] {
                let kind = (instructions, tile);
                let case = Case::new(&mut numbers, kind, size, channels, [1; 4], false);
                let whole = case.run(&pools[0], None);
                for pool in &pools {
                    for (blocks, shared, parts) in
                        [(1, false, 1), (8, false, 1), (1, true, 2), (5, true, 3), (2, true, 1)]
                    {
                        let division = Division { blocks, shared, parts };
                        assert!(whole == case.run(pool, Some(division)), "{tile} {division:?}");
                    }
                }
                let conv = Winograd { weights: Arc::clone(&case.conv.weights), ..case.conv };
                let image = conv.input.image;
                for (at, expected) in whole.chunks(conv.output.image).enumerate() {
                    let alone = Case {
                        batch: 1,
                        x: case.x[at * image..][..image].to_vec(),
                        residual: case.residual.as_ref().map(|(values, layout)| {
                            (values[at * layout.image..][..layout.image].to_vec(), *layout)
                        }),
                        weight: Vec::new(),
                        bias: Vec::new(),
                        form: Form::Float32,
                        conv: Winograd { weights: Arc::clone(&conv.weights), ..conv },
                    };
                    assert!(alone.run(&pools[1], None) == expected, "{tile} image {at}");
                }
            }
        }
    }
}

/// Seconds for which the process had a processor: other work on the machine disturbs them least.
fn processor_time() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is written to the place given.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Brings numbers into the caches.
fn touch(numbers: *mut f32, count: usize) {
    for at in (0..count).step_by(16) {
        // SAFETY: `count` numbers are there, and no other thread uses them now.
        unsafe { numbers.add(at).write_volatile(numbers.add(at).read_volatile()) };
    }
}

/// Times each tile, and blocks of several sizes, beside the direct convolution, in turns: milliseconds of processor time
/// (the median), and GFLOP/s of the direct convolution in the least time. `SHAPES=64-64@56` times some alone, `BLOCKS=1` blocks of
/// several sizes; `BATCH` and `THREADS` are numbers.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::too_many_lines, reason = "most are a table of shapes")]
fn time_beside_the_direct_convolution() {
    /// Channels in and out, and the size of the image: vgg16, resnet18, googlenet, densenet121.
    const SHAPES: [(usize, usize, usize); 24] = [
        (64, 64, 224),
        (64, 128, 112),
        (128, 128, 112),
        (128, 256, 56),
        (256, 256, 56),
        (256, 512, 28),
        (512, 512, 28),
        (512, 512, 14),
        (64, 64, 56),
        (128, 128, 28),
        (256, 256, 14),
        (512, 512, 7),
        (64, 192, 56),
        (96, 128, 28),
        (128, 192, 28),
        (16, 32, 28),
        (96, 208, 14),
        (160, 320, 14),
        (32, 128, 14),
        (160, 320, 7),
        (128, 32, 56),
        (128, 32, 28),
        (128, 32, 14),
        (128, 32, 7),
    ];
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let batch = variable("BATCH").parse().unwrap_or(1);
    let instructions = Instructions::best();
    let pool = Pool::new(variable("THREADS").parse().unwrap_or(1));
    let mut numbers = Numbers(11);
    // Other layers would have put other numbers into the caches.
    let mut others = vec![1.0_f32; 16 << 20];
    for (inputs, outputs, size) in SHAPES {
        let only = variable("SHAPES");
        if !only.is_empty() && only.split(',').all(|of| of != format!("{inputs}-{outputs}@{size}"))
        {
            continue;
        }
        let flops = (2 * 9 * inputs * outputs * size * size * batch) as f64;
        let images = (batch, size, size);
        let border = [1; 4];
        let mut memory: [Buffer; 3];
        let mut candidates: Vec<(String, Box<dyn Fn() + '_>)> = Vec::new();
        let pool = &pool;
        let made = |numbers: &mut Numbers, tile| {
            let kind = (instructions, tile);
            let case = Case::new(numbers, kind, images, (inputs, outputs), border, false);
            Arc::new(Case { residual: None, ..case })
        };
        let base = made(&mut numbers, Tile::square(2, 3));
        let direct = direct(&base);
        let mut cases = Vec::new();
        for tile in [2, 4, 6].map(|outputs| Tile::square(outputs, 3)) {
            let case = made(&mut numbers, tile);
            let tiles = case.conv.tiles(batch);
            if variable("BLOCKS") == "1" {
                for (name, sizes, shared) in [
                    ("own", [6, 12, 18, 24, 36, 48], false),
                    ("shared", [24, 36, 48, 66, 98, 132], true),
                ] {
                    for most in sizes {
                        cases.push((
                            name,
                            Arc::clone(&case),
                            case.conv.divided(tiles, tiles.div_ceil(most), shared),
                        ));
                    }
                }
            } else {
                let division = case.conv.division(batch);
                cases.push(("", case, division));
            }
        }
        // All have the same memory, as steps of a plan do.
        let scratch = cases.iter().map(|(_, case, division)| {
            case.conv.transformed(case.conv.tiles(batch).div_ceil(division.blocks))
        });
        let scratch = scratch.max().unwrap().max(direct.scratch(batch));
        memory =
            [base.x.len(), base.conv.output.extent(batch), scratch].map(|len| zeros(len).unwrap());
        let [x, y, scratch] = &mut memory;
        x.as_mut_slice().copy_from_slice(&base.x);
        let (x, y, scratch) = (
            Source::from(x.as_slice()),
            Target::from(y.as_mut_slice()),
            Target::from(scratch.as_mut_slice()),
        );
        candidates.push((
            "direct".into(),
            Box::new(move || direct.run(pool, batch, x, y, None, scratch).unwrap()),
        ));
        for (name, case, division) in cases {
            let tile = case.conv.weights.tile;
            candidates.push((
                format!("{tile}{name}{}", case.conv.tiles(batch).div_ceil(division.blocks)),
                Box::new(move || {
                    case.conv.run_divided(division, pool, batch, (x, y, None), scratch).unwrap();
                }),
            ));
        }
        let mut times = vec![Vec::new(); candidates.len()];
        let began = Instant::now();
        let limit = variable("SECONDS_EACH").parse().unwrap_or(1.5);
        while began.elapsed().as_secs_f64() < limit || times[0].len() < 5 {
            for ((_, run), times) in candidates.iter().zip(&mut times) {
                others.iter_mut().step_by(16).for_each(|number| *number += 1.0);
                // The images come from the step before.
                touch(x.at(0, base.x.len()).cast_mut(), base.x.len());
                touch(y.at(0, outputs), base.conv.output.extent(batch));
                let began = processor_time();
                run();
                times.push(processor_time() - began);
            }
        }
        print!("{inputs}->{outputs}@{size} x{batch}:");
        for ((name, _), times) in candidates.iter().zip(&mut times) {
            times.sort_by(f64::total_cmp);
            let (least, median) = (times[0], times[times.len() / 2]);
            print!("  {name} {:.3} ({:.0})", median * 1e3, flops / least * 1e-9);
        }
        println!();
    }
}
