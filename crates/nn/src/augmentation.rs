//! Changes to the examples of a batch while training: mirrored, shifted, made noisy, mixed. Every draw comes from a
//! stream that the epoch keys, so an interrupted run goes on with the same examples. Nothing here is done in evaluation.

use crate::network::{Layer, Network};
use crate::rng::{Purpose, Stream};
use crate::settings::Settings;

/// What an example is, as far as changing it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Row,
    Sequence { features: usize },
    Image { height: usize, width: usize },
}

/// Which changes are made, and to what. Those that make no sense for an example are left out: rows of a table are
/// neither shifted nor mirrored, sequences not mirrored, and nothing is done to tokens.
pub(crate) struct Augmentation {
    form: Form,
    noise: f64,
    shift: usize,
    flip: bool,
    mixup: f64,
    /// Places in a row that hold category numbers: no noise, and never a mixture of two.
    categories: Vec<usize>,
    room: Vec<f32>,
}

/// An epoch's streams.
pub(crate) struct Draws {
    change: Stream,
    mix: Stream,
}

impl Draws {
    /// Of an epoch, counted from 1.
    pub(crate) fn new(seed: &[u8; 32], epoch: usize) -> Self {
        let stream = |purpose| Stream::new(seed, purpose, epoch as u64);
        Self { change: stream(Purpose::Augmentation), mix: stream(Purpose::Mixup) }
    }
}

/// How the rows of a batch are mixed: row r becomes `share` of itself and the rest of its `partner`.
#[derive(Debug, Default)]
pub(crate) struct Mixing {
    pub(crate) pairs: Vec<(u32, f32)>,
}

impl Augmentation {
    pub(crate) fn new(network: &Network, settings: &Settings) -> Self {
        let form = match network.input[..] {
            [_, height, width] => Form::Image { height, width },
            [_, features] => Form::Sequence { features },
            _ => Form::Row,
        };
        let is_tokens = matches!(network.layers.first(), Some(Layer::Embedding { .. }));
        let categories = match network.layers.first() {
            Some(Layer::EmbedColumns { columns }) => columns.iter().map(|column| column.input).collect(),
            _ => Vec::new(),
        };
        Self {
            form,
            noise: if is_tokens { 0.0 } else { settings.noise },
            shift: if form == Form::Row { 0 } else { settings.shift },
            flip: settings.flip && matches!(form, Form::Image { .. }),
            mixup: if is_tokens { 0.0 } else { settings.mixup },
            categories,
            room: Vec::new(),
        }
    }

    /// Whether rows are mixed, so that targets become soft.
    pub(crate) fn mixes(&self) -> bool {
        self.mixup > 0.0
    }

    /// Changes the examples in `inputs`, of `width` numbers each, in place; `mixing` says afterwards how they were
    /// mixed.
    pub(crate) fn apply(&mut self, inputs: &mut [f32], width: usize, draws: &mut Draws, mixing: &mut Mixing) {
        let stream = &mut draws.change;
        for example in inputs.chunks_exact_mut(width) {
            if self.flip && stream.below(2) == 1 {
                self.mirror(example);
            }
            if self.shift > 0 {
                self.move_about(example, stream);
            }
            if self.noise > 0.0 {
                for (place, number) in example.iter_mut().enumerate() {
                    if !self.categories.contains(&place) {
                        *number += (self.noise * stream.normal()) as f32;
                    }
                }
            }
        }
        if self.mixes() {
            self.mix(inputs, width, &mut draws.mix, mixing);
        }
    }

    fn mirror(&self, example: &mut [f32]) {
        if let Form::Image { width, .. } = self.form {
            example.chunks_exact_mut(width).for_each(<[f32]>::reverse);
        }
    }

    fn move_about(&mut self, example: &mut [f32], stream: &mut Stream) {
        let limit = self.shift as i64;
        let mut offset = || i64::from(stream.below(2 * self.shift as u32 + 1)) - limit;
        match self.form {
            Form::Row => {}
            Form::Sequence { features } => {
                let by = offset();
                let steps = example.len() / features;
                self.shift_plane(example, (steps, features), (by, 0));
            }
            Form::Image { height, width } => {
                let by = (offset(), offset());
                for channel in example.chunks_exact_mut(height * width) {
                    self.shift_plane(channel, (height, width), by);
                }
            }
        }
    }

    /// Moves a plane down and to the right, zeros moving in.
    fn shift_plane(&mut self, plane: &mut [f32], (height, width): (usize, usize), (down, right): (i64, i64)) {
        self.room.clear();
        self.room.extend_from_slice(plane);
        for row in 0..height {
            for column in 0..width {
                let from = (row as i64 - down, column as i64 - right);
                let inside = (0..height as i64).contains(&from.0) && (0..width as i64).contains(&from.1);
                let value = if inside { self.room[from.0 as usize * width + from.1 as usize] } else { 0.0 };
                plane[row * width + column] = value;
            }
        }
    }

    fn mix(&mut self, inputs: &mut [f32], width: usize, stream: &mut Stream, mixing: &mut Mixing) {
        let rows = inputs.len() / width;
        let mut partners: Vec<u32> = (0..rows as u32).collect();
        stream.shuffle(&mut partners);
        mixing.pairs.clear();
        mixing.pairs.extend(partners.into_iter().map(|partner| (partner, stream.beta(self.mixup) as f32)));
        self.room.clear();
        self.room.extend_from_slice(inputs);
        for (example, &(partner, share)) in inputs.chunks_exact_mut(width).zip(&mixing.pairs) {
            let other = &self.room[partner as usize * width..][..width];
            for (place, (own, &other)) in example.iter_mut().zip(other).enumerate() {
                *own = if self.categories.contains(&place) {
                    if share >= 0.5 { *own } else { other }
                } else {
                    share * *own + (1.0 - share) * other
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::Loss;
    use crate::network::EmbedColumn;

    fn changed(
        input: &[usize],
        first: Option<Layer>,
        settings: &Settings,
        rows: &[f32],
    ) -> (Vec<f32>, Mixing) {
        let layers = first.into_iter().chain([Layer::dense(1)]).collect();
        let network = Network { input: input.to_vec(), layers, loss: Loss::SquaredError };
        let (mut inputs, mut mixing) = (rows.to_vec(), Mixing::default());
        let mut draws = Draws::new(&[3; 32], 1);
        Augmentation::new(&network, settings).apply(&mut inputs, network.inputs(), &mut draws, &mut mixing);
        (inputs, mixing)
    }

    #[test]
    fn about_half_of_the_images_are_mirrored() {
        let settings = Settings { flip: true, ..Settings::default() };
        let image = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let (images, _) = changed(&[1, 2, 3], None, &settings, &image.repeat(1000));
        let mirrored = images.chunks(6).filter(|image| *image == [3.0, 2.0, 1.0, 6.0, 5.0, 4.0]).count();
        let kept = images.chunks(6).filter(|one| *one == image).count();
        assert_eq!(mirrored + kept, 1000);
        // Six standard deviations.
        assert!(mirrored.abs_diff(500) < 95, "{mirrored}");
    }

    #[test]
    fn images_move_by_at_most_the_shift_in_each_direction_and_zeros_move_in() {
        let settings = Settings { shift: 1, ..Settings::default() };
        let image: Vec<f32> = (1..=9u8).map(f32::from).collect();
        let (images, _) = changed(&[1, 3, 3], None, &settings, &image.repeat(500));
        let mut seen: Vec<&[f32]> = images.chunks(9).collect();
        seen.sort_by(|a, b| a.partial_cmp(b).unwrap());
        seen.dedup();
        assert_eq!(seen.len(), 9);
        assert!(seen.contains(&&[0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 4.0, 5.0][..]));
        assert!(seen.contains(&&[5.0, 6.0, 0.0, 8.0, 9.0, 0.0, 0.0, 0.0, 0.0][..]));
    }

    #[test]
    fn sequences_move_in_time_alone() {
        let settings = Settings { shift: 2, flip: true, ..Settings::default() };
        let (sequences, _) =
            changed(&[3, 2], None, &settings, &[1.0, 10.0, 2.0, 20.0, 3.0, 30.0].repeat(200));
        for sequence in sequences.chunks(6) {
            assert!(sequence.chunks(2).all(|step| step[1] == 10.0 * step[0]), "{sequence:?}");
        }
        assert!(sequences.chunks(6).any(|sequence| sequence == [0.0, 0.0, 0.0, 0.0, 1.0, 10.0]));
    }

    #[test]
    fn noise_has_its_standard_deviation_and_spares_category_numbers() {
        let settings = Settings { noise: 0.5, shift: 3, flip: true, ..Settings::default() };
        let columns = vec![EmbedColumn { input: 1, cardinality: 9, dimension: 2 }];
        let rows = [0.0, 7.0].repeat(4000);
        let (rows, _) = changed(&[2], Some(Layer::EmbedColumns { columns }), &settings, &rows);
        assert!(rows.chunks(2).all(|row| row[1] == 7.0));
        let variance = rows.chunks(2).map(|row| f64::from(row[0]).powi(2)).sum::<f64>() / 4000.0;
        // The standard error of a variance is √(2/n) of it; six of them.
        assert!((variance - 0.25).abs() < 0.25 * 6.0 * (2.0f64 / 4000.0).sqrt(), "{variance}");
    }

    #[test]
    fn mixed_rows_lie_between_their_pairs() {
        let settings = Settings { mixup: 0.4, ..Settings::default() };
        let rows: Vec<f32> = (0..64u8).map(f32::from).collect();
        let (mixed, mixing) = changed(&[1], None, &settings, &rows);
        for (own, (row, &(partner, share))) in mixed.iter().zip(rows.iter().zip(&mixing.pairs)) {
            assert!((0.0..=1.0).contains(&share));
            assert!((own - (share * row + (1.0 - share) * partner as f32)).abs() < 1e-4);
        }
        assert!(mixing.pairs.iter().any(|(_, share)| *share > 0.01 && *share < 0.99));
    }

    #[test]
    fn tokens_are_left_alone() {
        let settings = Settings { noise: 1.0, shift: 2, flip: true, mixup: 1.0, ..Settings::default() };
        let tokens = [3.0, 1.0, 2.0].repeat(5);
        let embedding = Layer::Embedding { vocabulary: 5, dimension: 2 };
        let (after, mixing) = changed(&[3], Some(embedding), &settings, &tokens);
        assert_eq!((after, mixing.pairs.len()), (tokens, 0));
    }
}
