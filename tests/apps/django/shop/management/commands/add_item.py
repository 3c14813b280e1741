from django.core.management.base import BaseCommand

from shop.models import Item


class Command(BaseCommand):
    help = "Adds an item to the shop"

    def add_arguments(self, parser):
        parser.add_argument("name")

    def handle(self, *arguments, name, **options):
        Item.objects.create(name=name)
        self.stdout.write(f"{Item.objects.count()} in the shop")
