//! Owns the order of undoing: what a half-done operation has changed is taken back, last change first.

/// Actions that run in reverse when this is dropped, unless [`Undo::commit`] came first.
#[derive(Default)]
pub(crate) struct Undo<'a> {
    actions: Vec<Box<dyn FnOnce() + 'a>>,
}

impl<'a> Undo<'a> {
    pub fn new() -> Self {
        Undo { actions: Vec::new() }
    }

    /// `action` must not fail in a way that anybody could act on: the error that led here is the one to report.
    pub fn push(&mut self, action: impl FnOnce() + 'a) {
        self.actions.push(Box::new(action));
    }

    /// The operation is complete; everything stays.
    pub fn commit(mut self) {
        self.actions.clear();
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        while let Some(action) = self.actions.pop() {
            action();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Undo;
    use std::cell::RefCell;

    #[test]
    fn runs_in_reverse_unless_committed() {
        let order = RefCell::new(Vec::new());
        let mut dropped = Undo::new();
        dropped.push(|| order.borrow_mut().push(1));
        dropped.push(|| order.borrow_mut().push(2));
        drop(dropped);
        let mut committed = Undo::new();
        committed.push(|| order.borrow_mut().push(3));
        committed.commit();
        assert_eq!(*order.borrow(), [2, 1]);
    }
}
