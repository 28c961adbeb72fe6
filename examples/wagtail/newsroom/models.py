"""The kind of page that editors write. The front page is the one that Wagtail makes itself."""

from wagtail.admin.panels import FieldPanel
from wagtail.fields import RichTextField
from wagtail.models import Page


class Article(Page):
    """A title and a text."""

    body = RichTextField(blank=True)
    content_panels = [*Page.content_panels, FieldPanel("body")]
