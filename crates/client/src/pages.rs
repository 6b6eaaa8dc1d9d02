//! Lists, from their first page to their last.

use onex_protocol::{
    bus::{BusItem, BusListRequest},
    catalog::{SchemaItem, SchemaListRequest},
    describe::{DescribeReply, DescribeRequest},
    endpoint::Endpoint,
    node_view::{NodeItem, NodeListRequest},
    pool::{PoolItem, PoolListRequest},
    port::{LeaseReply, ListRequest, Page, ResolveRequest},
    tool::{ToolDescribeReply, ToolDescribeRequest, ToolItem, ToolListRequest},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{Client, Error, call::Again};

/// A request that is answered with pages.
pub trait Pages: Serialize + Clone + Sync {
    /// A page.
    type Page: DeserializeOwned + Send;
    /// Who answers it.
    const ENDPOINT: Endpoint;

    /// Asks for the page at `cursor`, from an instance that knows `revision` at least.
    #[must_use]
    fn at(self, cursor: String, revision: u64) -> Self;
    /// Asks an instance that knows `revision` at least.
    #[must_use]
    fn behind(self, revision: u64) -> Self;
    /// Where the next page begins, taken out of `page`; none on the last one.
    fn next(page: &mut Self::Page) -> Option<String>;
    /// What `page` is true for.
    fn revision(page: &Self::Page) -> u64;
    /// Puts the items of `more` behind those of `page`.
    fn append(page: &mut Self::Page, more: Self::Page);
}

macro_rules! pages {
    ($request:ty, $page:ty, [$($items:ident),+], $endpoint:expr) => {
        impl Pages for $request {
            type Page = $page;
            const ENDPOINT: Endpoint = $endpoint;

            fn at(self, cursor: String, revision: u64) -> Self {
                Self {
                    cursor: Some(cursor),
                    ..Pages::behind(self, revision)
                }
            }

            fn behind(self, revision: u64) -> Self {
                Self {
                    min_revision: self.min_revision.max(Some(revision)),
                    ..self
                }
            }

            fn next(page: &mut $page) -> Option<String> {
                page.next_cursor.take()
            }

            fn revision(page: &$page) -> u64 {
                page.revision
            }

            fn append(page: &mut $page, more: $page) {
                $(page.$items.extend(more.$items);)+
            }
        }
    };
}

macro_rules! lists {
    ($($request:ty => $item:ty, $endpoint:ident;)+) => {
        $(pages!($request, Page<$item>, [items], Endpoint::$endpoint);)+
    };
}

/// A list of one kind of item.
pub trait Items {
    /// What it lists.
    type Item: Serialize;
    /// All of it, to be put in another order.
    fn items_mut(&mut self) -> &mut Vec<Self::Item>;
}

impl<T: Serialize> Items for Page<T> {
    type Item = T;
    fn items_mut(&mut self) -> &mut Vec<T> {
        &mut self.items
    }
}

lists! {
    ListRequest => LeaseReply, PortList;
    ResolveRequest => LeaseReply, PortResolve;
    PoolListRequest => PoolItem, PoolList;
    NodeListRequest => NodeItem, NodeList;
    ToolListRequest => ToolItem, ToolList;
    BusListRequest => BusItem, BusList;
    SchemaListRequest => SchemaItem, SchemaList;
}

pages!(
    DescribeRequest,
    DescribeReply,
    [pools, nodes, tools, buses],
    Endpoint::Describe
);

pages!(
    ToolDescribeRequest,
    ToolDescribeReply,
    [providers],
    Endpoint::ToolDescribe
);

impl Client {
    pub(super) async fn page<R: Pages>(&self, request: &R) -> Result<R::Page, Error> {
        self.call(R::ENDPOINT, request, Again::Harmless).await
    }

    /// All pages from `request` on, as one without a next. Each may take the timeout.
    ///
    /// Its revision is the first page's. Pages after it know that much or more, whichever instance
    /// answers, so an item that existed then and has not changed since is in it.
    pub async fn all<R: Pages>(&self, request: &R) -> Result<R::Page, Error> {
        let mut all = self.page(request).await?;
        let mut next = R::next(&mut all);
        while let Some(cursor) = next {
            let following = request.clone().at(cursor.clone(), R::revision(&all));
            let mut more = self.page(&following).await?;
            next = R::next(&mut more);
            if next.as_ref() == Some(&cursor) {
                return Err(Error::Endless {
                    endpoint: R::ENDPOINT,
                });
            }
            R::append(&mut all, more);
        }
        Ok(all)
    }
}
