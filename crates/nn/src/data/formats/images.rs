//! A folder of PNG and JPEG files, one folder inside for each class. Pictures are brought to one number of channels and,
//! on request, to one size; nothing else is changed.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::super::array::{Array, Values, label_table};
use super::super::table::Column;
use super::super::{DataError, ExampleKind};
use super::{Decoded, Purpose, Source};

/// One picture, channels last.
struct Picture {
    height: usize,
    width: usize,
    channels: usize,
    pixels: Vec<u8>,
}

pub(super) fn decode(source: &mut Source<'_>) -> Result<Decoded, DataError> {
    let folder = source.path.clone();
    let files = files(&folder, source.purpose)?;
    if files.is_empty() {
        return Err(DataError::NoImages { path: folder });
    }
    let mut pictures = Vec::with_capacity(files.len());
    let mut size = None;
    for (path, class) in &files {
        let picture = decode_file(source, path)?;
        source
            .hashes
            .push(blake3::hash(class.as_deref().unwrap_or_default().as_bytes()).to_hex().to_string());
        let [height, width] = source.spec.resize.unwrap_or([picture.height, picture.width]);
        let picture = picture.resized(height, width);
        let found = (picture.height, picture.width);
        let expected = *size.get_or_insert(found);
        if found != expected {
            let shown = |(height, width)| format!("{height} × {width}");
            return Err(DataError::ImageSize {
                folder,
                path: path.clone(),
                found: shown(found),
                expected: shown(expected),
            });
        }
        pictures.push(picture);
    }
    let coloured = source.spec.colour.unwrap_or_else(|| pictures.iter().any(|picture| picture.channels == 3));
    let (height, width) = size.unwrap_or_default();
    let channels = if coloured { 3 } else { 1 };
    let mut values = Vec::with_capacity(files.len() * channels * height * width);
    for picture in &pictures {
        picture.write_planes(coloured, &mut values);
    }
    let array = Array {
        shape: vec![channels, height, width],
        kind: ExampleKind::Image,
        values: Values::Bytes(values),
        path: folder,
    };
    let labels = match source.purpose {
        Purpose::Learn => {
            Some(label_table(vec![Column::Text(files.iter().map(|(_, class)| class.as_deref()).collect())])?)
        }
        Purpose::Predict => None,
    };
    Ok(Decoded::Array { array, labels, test: 0 })
}

/// Pictures and their classes in alphabetical order; for prediction also those that lie in the folder itself.
fn files(folder: &Path, purpose: Purpose) -> Result<Vec<(PathBuf, Option<String>)>, DataError> {
    let mut files = Vec::new();
    for path in entries(folder)? {
        if path.is_dir() {
            let class = path.file_name().map(|name| name.to_string_lossy().into_owned());
            files.extend(
                entries(&path)?.into_iter().filter(|file| is_picture(file)).map(|file| (file, class.clone())),
            );
        } else if purpose == Purpose::Predict && is_picture(&path) {
            files.push((path, None));
        }
    }
    Ok(files)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let read = || std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect();
    let paths: std::io::Result<Vec<PathBuf>> = read();
    let mut paths = paths.map_err(|source| DataError::Read { path: folder.to_owned(), source })?;
    paths.sort_unstable();
    Ok(paths)
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    extension.is_some_and(|extension| matches!(extension.as_str(), "png" | "jpg" | "jpeg"))
}

/// By its first bytes, whatever its name.
fn decode_file(source: &mut Source<'_>, path: &Path) -> Result<Picture, DataError> {
    let bytes = source.bytes(path)?;
    let damaged =
        |expected, problem: String| DataError::Malformed { path: path.to_owned(), expected, problem };
    if bytes.starts_with(b"\x89PNG") {
        decode_png(&bytes).map_err(|problem| damaged("a PNG picture", problem))
    } else if bytes.starts_with(&[0xff, 0xd8]) {
        decode_jpeg(&bytes).map_err(|problem| damaged("a JPEG picture", problem))
    } else {
        Err(damaged("a PNG or JPEG picture", "its first bytes say otherwise".to_owned()))
    }
}

fn decode_png(bytes: &[u8]) -> Result<Picture, String> {
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let mut reader = decoder.read_info().map_err(|error| error.to_string())?;
    let size = reader.output_buffer_size().ok_or("it is too large")?;
    let mut pixels = vec![0; size];
    let info = reader.next_frame(&mut pixels).map_err(|error| error.to_string())?;
    pixels.truncate(info.buffer_size());
    let samples = info.color_type.samples();
    // Transparency is left out: a classifier sees the colours as they are stored.
    let channels = if samples >= 3 { 3 } else { 1 };
    let pixels = if samples == channels {
        pixels
    } else {
        pixels.chunks_exact(samples).flat_map(|pixel| &pixel[..channels]).copied().collect()
    };
    Ok(Picture { height: info.height as usize, width: info.width as usize, channels, pixels })
}

fn decode_jpeg(bytes: &[u8]) -> Result<Picture, String> {
    let mut decoder = JpegDecoder::new(Cursor::new(bytes));
    decoder.decode_headers().map_err(|error| error.to_string())?;
    let is_grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let space = if is_grey { ColorSpace::Luma } else { ColorSpace::RGB };
    decoder.set_options(DecoderOptions::default().jpeg_set_out_colorspace(space));
    let pixels = decoder.decode().map_err(|error| error.to_string())?;
    let (width, height) = decoder.dimensions().ok_or("it has no size")?;
    Ok(Picture { height, width, channels: if is_grey { 1 } else { 3 }, pixels })
}

impl Picture {
    /// Adds its channels, one after another. Grey is the luma of ITU-R BT.601, rounded to the nearest.
    fn write_planes(&self, coloured: bool, planes: &mut Vec<u8>) {
        let luma = |p: &[u8]| {
            ((299 * u32::from(p[0]) + 587 * u32::from(p[1]) + 114 * u32::from(p[2]) + 500) / 1000) as u8
        };
        match (self.channels, coloured) {
            (3, true) => {
                for channel in 0..3 {
                    planes.extend(self.pixels.iter().skip(channel).step_by(3));
                }
            }
            (3, false) => planes.extend(self.pixels.chunks_exact(3).map(luma)),
            (_, true) => (0..3).for_each(|_| planes.extend(&self.pixels)),
            (_, false) => planes.extend(&self.pixels),
        }
    }

    /// Brought to another size: each new pixel is a mean of the old ones around it, weighted by a triangle as wide as
    /// two new (or old, if larger) pixels.
    fn resized(self, height: usize, width: usize) -> Self {
        if (height, width) == (self.height, self.width) {
            return self;
        }
        let channels = self.channels;
        let mut wide = vec![0.0; self.height * width * channels];
        for (x, (start, weights)) in weights(self.width, width).into_iter().enumerate() {
            for (y, c) in (0..self.height).flat_map(|y| (0..channels).map(move |c| (y, c))) {
                let pixel = |i: usize| f32::from(self.pixels[(y * self.width + start + i) * channels + c]);
                wide[(y * width + x) * channels + c] =
                    weights.iter().enumerate().map(|(i, w)| w * pixel(i)).sum();
            }
        }
        let row = width * channels;
        let mut pixels = vec![0; height * row];
        for (y, (start, weights)) in weights(self.height, height).into_iter().enumerate() {
            for place in 0..row {
                let sum: f32 =
                    weights.iter().enumerate().map(|(i, w)| w * wide[(start + i) * row + place]).sum();
                pixels[y * row + place] = sum.round().clamp(0.0, 255.0) as u8;
            }
        }
        Self { height, width, channels, pixels }
    }
}

/// For each new pixel, the first old one that counts and the weights from there on; they add up to 1.
fn weights(old: usize, new: usize) -> Vec<(usize, Vec<f32>)> {
    let scale = old as f32 / new as f32;
    let reach = scale.max(1.0);
    (0..new)
        .map(|place| {
            let centre = (place as f32 + 0.5) * scale;
            let first = (centre - reach + 0.5).max(0.0) as usize;
            let end = ((centre + reach + 0.5) as usize).min(old);
            let triangle = |i: usize| (1.0 - ((i as f32 + 0.5 - centre) / reach).abs()).max(0.0);
            let weights: Vec<f32> = (first..end).map(triangle).collect();
            let sum: f32 = weights.iter().sum();
            (first, weights.into_iter().map(|weight| weight / sum).collect())
        })
        .collect()
}
