"""A small bookshop with logins, baskets and a cached shelf: the site of stayd's demo."""
