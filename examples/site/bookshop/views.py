"""The bookshop's pages: a cached shelf, a basket for anyone, an account for readers who log in."""

import time

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.cache import cache
from django.http import Http404
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from bookshop.books import BOOKS, BY_SLUG

SHELF_CACHED_S = 300
BOOKS_REMEMBERED = 10


def store_name(request):
    """Tells every page which store the site runs on."""
    return {"store": settings.STORE}


def draw_up_shelf():
    """Returns the shelf, with the time that it took to put together."""
    begun = time.perf_counter()
    books = sorted(BOOKS, key=lambda book: book.title)
    time.sleep(
        0.05
    )  # stands for the queries and the rendering that make a shop cache its front page
    return {
        "titles": [book.slug for book in books],
        "drawn_up_at": timezone.now().strftime("%H:%M:%S"),
        "took_ms": round((time.perf_counter() - begun) * 1000),
    }


def shelf(request):
    """The front page: slow to put together, so it is kept in the cache for five minutes."""
    drawn_up = cache.get("shelf")
    was_cached = drawn_up is not None
    if not was_cached:
        drawn_up = draw_up_shelf()
        cache.set("shelf", drawn_up, SHELF_CACHED_S)
    books = [BY_SLUG[slug] for slug in drawn_up["titles"]]
    context = {"books": books, "drawn_up": drawn_up, "was_cached": was_cached}
    return render(request, "shelf.html", context)


def book(request, slug):
    """One book. The session remembers the last ten that the visitor looked at."""
    found = BY_SLUG.get(slug)
    if found is None:
        raise Http404(f"no book called {slug}")
    seen = [other for other in request.session.get("seen", []) if other["slug"] != slug]
    now = timezone.now().isoformat(timespec="seconds")
    request.session["seen"] = [{"slug": slug, "at": now}, *seen][:BOOKS_REMEMBERED]
    return render(request, "book.html", {"book": found})


def basket(request):
    """The basket, which lives in the session: a visitor needs no login to fill one."""
    in_basket = request.session.get("basket", {})
    if request.method == "POST":
        slug = request.POST.get("slug", "")
        if slug not in BY_SLUG:
            raise Http404(f"no book called {slug}")
        request.session["basket"] = {**in_basket, slug: in_basket.get(slug, 0) + 1}
        return redirect("basket")
    lines = [(BY_SLUG[slug], count) for slug, count in in_basket.items() if slug in BY_SLUG]
    total_cents = sum(line.price_cents * count for line, count in lines)
    return render(request, "basket.html", {"lines": lines, "total": f"{total_cents / 100:.2f}"})


@login_required
def account(request):
    """A reader's own page. It counts its visits in the session."""
    visits = request.session.get("visits", 0) + 1
    request.session["visits"] = visits
    context = {"visits": visits, "cleared": "cleared" in request.GET}
    return render(request, "account.html", context)


@require_POST
@login_required
def clear_cache(request):
    """Clears the whole cache, as a deployment or an impatient administrator does."""
    cache.clear()
    return redirect("/account/?cleared")
