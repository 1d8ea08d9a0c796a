//! The faults of a message: each names a field, and says what is wrong with it and what is expected.

use std::fmt;

use super::InvalidId;

/// One field of a request or command that breaks the contract.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct Invalid {
    /// The field's path in the message.
    pub field: String,
    pub problem: String,
}

/// All fields of a message that break the contract: the first ones are listed, the rest counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InvalidFields {
    pub listed: Vec<Invalid>,
    more: usize,
}

/// Limit on the faults that are listed: a record of 1 MiB has room for many thousands.
const MOST_LISTED: usize = 8;

impl Invalid {
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
        }
    }

    /// Returns the fault of an item as one of its batch, with the field's path in the batch.
    pub(crate) fn of_item(self, index: usize) -> Self {
        Self::new(format!("spec.items[{index}].{}", self.field), self.problem)
    }
}

impl InvalidFields {
    pub(crate) fn add(&mut self, field: impl Into<String>, problem: impl Into<String>) {
        self.push(Invalid::new(field, problem));
    }

    /// Adds the fault of a check, if it found one.
    pub(crate) fn note(&mut self, result: Result<(), Invalid>) {
        if let Err(fault) = result {
            self.push(fault);
        }
    }

    fn push(&mut self, fault: Invalid) {
        if self.listed.len() < MOST_LISTED {
            self.listed.push(fault);
        } else {
            self.more += 1;
        }
    }

    /// Adds the faults of a batch's item.
    pub(crate) fn of_item(&mut self, index: usize, item: Self) {
        let listed = item.listed.into_iter();
        listed.for_each(|fault| self.push(fault.of_item(index)));
        self.more += item.more;
    }

    /// Returns `good` unless there is a fault.
    pub(crate) fn or<T>(self, good: T) -> Result<T, Self> {
        if self.listed.is_empty() {
            Ok(good)
        } else {
            Err(self)
        }
    }
}

impl fmt::Display for InvalidFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.listed.iter().enumerate() {
            let between = if at == 0 { "" } else { "; " };
            write!(f, "{between}{fault}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl std::error::Error for InvalidFields {}

impl From<Invalid> for InvalidFields {
    fn from(fault: Invalid) -> Self {
        Self {
            listed: vec![fault],
            more: 0,
        }
    }
}

impl From<InvalidId> for Invalid {
    fn from(error: InvalidId) -> Self {
        Self::new("request_id", error.to_string())
    }
}

/// Returns the part of a tenant's text that an error shows.
pub(super) fn beginning(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_faults_are_named_and_the_rest_counted() {
        let mut item = InvalidFields::default();
        for number in 0..9 {
            item.add(format!("f{number}"), "is wrong");
        }
        let mut faults = InvalidFields::default();
        faults.add("user_id", "is wrong");
        faults.of_item(3, item);

        let shown = faults.or(()).unwrap_err().to_string();

        assert!(
            shown.starts_with("user_id is wrong; spec.items[3].f0 is wrong; "),
            "{shown}"
        );
        assert!(shown.ends_with("f6 is wrong; and 2 more"), "{shown}");
        assert_eq!(InvalidFields::default().or(7), Ok(7));
    }
}
