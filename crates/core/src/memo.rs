//! State that makes an algorithm fast and may be dropped at any time without changing any answer.

use std::any::Any;

/// A slot for one algorithm's memo: a fold of the study that only that algorithm reads.
#[derive(Default)]
pub struct Memo(Option<Box<dyn Any + Send>>);

impl Memo {
    /// The memo as a `T`, made afresh if it is empty or was another algorithm's.
    pub fn get<T: Default + Send + 'static>(&mut self) -> &mut T {
        if !self.0.as_ref().is_some_and(|kept| kept.is::<T>()) {
            self.0 = Some(Box::<T>::default());
        }
        match self.0.as_mut().and_then(|kept| kept.downcast_mut()) {
            Some(memo) => memo,
            None => unreachable!("the slot was just filled with this type"),
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0 = None;
    }
}
