import json

from django.http import HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_http_methods

from shops.models import Todo

FIELDS = ("id", "title", "done", "due_at", "owner_id", "created_at", "updated_at")


def _out(todo: Todo) -> dict:
    return {name: getattr(todo, name) for name in FIELDS}


@require_http_methods(["GET", "POST"])
def todos(request: HttpRequest) -> JsonResponse:
    if request.method == "POST":
        todo = Todo.objects.create(title=json.loads(request.body)["title"], done=False)
        return JsonResponse(_out(todo), status=201)
    found = Todo.objects.order_by("id")[: int(request.GET["limit"])]
    return JsonResponse({"items": [_out(todo) for todo in found]})


@require_http_methods(["GET", "PATCH"])
def todo(request: HttpRequest, todo_id: int) -> JsonResponse:
    found = get_object_or_404(Todo, pk=todo_id)
    if request.method == "PATCH":
        found.title = json.loads(request.body)["title"]
        found.save()
    return JsonResponse(_out(found))
