from django.core.cache import cache
from django.http import HttpResponse
from django.http import JsonResponse
from django.shortcuts import render

from shop.models import Item


def front(request):
    return render(request, "shop/front.html")


def items(request):
    if request.method == "POST":
        Item.objects.create(name=request.body.decode())
    return JsonResponse({"items": list(Item.objects.values_list("name", flat=True))})


def count(request):
    cache.add("count", 0, timeout=None)
    return HttpResponse(f"{cache.incr('count')}\n")


def healthz(request):
    return HttpResponse("ok\n")
