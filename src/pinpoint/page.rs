//! Follows the page tokens of a listing, and stops a listing that would never end. Independent of Pinpoint.

use std::collections::HashSet;

/// The progress through the pages of a listing.
#[derive(Debug)]
pub(super) struct Pages {
    limit: u32,
    fetched: u32,
    seen: HashSet<Box<str>>,
}

/// The maximum length of a token. Escaping can triple it.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Why a listing cannot be read to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PaginationError {
    /// A token that led to an earlier page was returned again.
    #[error("page {page} of the listing repeats the token of an earlier page")]
    RepeatedToken {
        /// Counted from 1.
        page: u32,
    },
    /// A token is too long for a URL.
    #[error("page {page} of the listing gives a token of {bytes} bytes, more than a URL can hold")]
    TokenTooLong {
        /// Counted from 1.
        page: u32,
        bytes: usize,
    },
    #[error("the listing has more than {limit} pages; if that is right, raise PINPOINT_EXPORTER_MAX_PAGES")]
    TooManyPages {
        /// The value of `PINPOINT_EXPORTER_MAX_PAGES`.
        limit: u32,
    },
}

impl Pages {
    pub(super) fn up_to(limit: u32) -> Self {
        Self { limit, fetched: 0, seen: HashSet::new() }
    }

    /// Records a page and its token for the next page. Returns an error if the token must not be followed.
    pub(super) fn fetched(&mut self, next_token: Option<&str>) -> Result<(), PaginationError> {
        self.fetched += 1;
        match next_token {
            Some(token) if token.len() > MAX_TOKEN_BYTES => {
                Err(PaginationError::TokenTooLong { page: self.fetched, bytes: token.len() })
            }
            Some(token) if !self.seen.insert(token.into()) => {
                Err(PaginationError::RepeatedToken { page: self.fetched })
            }
            Some(_) if self.fetched >= self.limit => Err(PaginationError::TooManyPages { limit: self.limit }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_came_before_ends_the_listing_also_after_others() {
        let mut pages = Pages::up_to(10);
        assert_eq!(pages.fetched(Some("a")), Ok(()));
        assert_eq!(pages.fetched(Some("b")), Ok(()));
        assert_eq!(pages.fetched(Some("a")), Err(PaginationError::RepeatedToken { page: 3 }));
    }

    #[test]
    fn a_token_is_followed_as_long_as_it_fits_into_a_url() {
        let mut pages = Pages::up_to(10);
        assert_eq!(pages.fetched(Some(&"a".repeat(16 * 1024))), Ok(()));
        let too_long = Err(PaginationError::TokenTooLong { page: 2, bytes: 16 * 1024 + 1 });
        assert_eq!(pages.fetched(Some(&"a".repeat(16 * 1024 + 1))), too_long);
    }

    #[test]
    fn as_many_pages_as_allowed_are_read_and_no_more() {
        let mut pages = Pages::up_to(2);
        assert_eq!(pages.fetched(Some("a")), Ok(()));
        assert_eq!(pages.fetched(None), Ok(()));
        let mut pages = Pages::up_to(2);
        assert_eq!(pages.fetched(Some("a")), Ok(()));
        assert_eq!(pages.fetched(Some("b")), Err(PaginationError::TooManyPages { limit: 2 }));
    }
}
