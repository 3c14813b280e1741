from django.urls import path

from shop import views

urlpatterns = [
    path("", views.front),
    path("items", views.items),
    path("count", views.count),
    path("healthz", views.healthz),
]
