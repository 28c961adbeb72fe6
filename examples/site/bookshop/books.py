"""The books on the shelf. All are out of copyright."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Book:
    """One book: its address on the site, what the card shows, and the price in cents."""

    slug: str
    title: str
    author: str
    year: int
    price_cents: int

    @property
    def price(self):
        """The price as it is printed, in euros."""
        return f"{self.price_cents / 100:.2f}"


BOOKS = [
    Book("middlemarch", "Middlemarch", "George Eliot", 1871, 1190),
    Book("moby-dick", "Moby-Dick", "Herman Melville", 1851, 990),
    Book("persuasion", "Persuasion", "Jane Austen", 1817, 790),
    Book("kidnapped", "Kidnapped", "Robert Louis Stevenson", 1886, 690),
    Book("bleak-house", "Bleak House", "Charles Dickens", 1853, 1250),
    Book("the-moonstone", "The Moonstone", "Wilkie Collins", 1868, 890),
    Book("jane-eyre", "Jane Eyre", "Charlotte Brontë", 1847, 950),
    Book("walden", "Walden", "Henry David Thoreau", 1854, 720),
    Book("flatland", "Flatland", "Edwin A. Abbott", 1884, 540),
]
BY_SLUG = {book.slug: book for book in BOOKS}
