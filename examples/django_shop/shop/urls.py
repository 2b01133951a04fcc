"""Two pages: check out, and look."""

from django.urls import path

from orders import views

urlpatterns = [
    path("checkout/", views.checkout),
    path("orders/<str:reference>/", views.order),
]
