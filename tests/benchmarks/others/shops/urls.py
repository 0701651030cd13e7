from django.urls import path

from shops import views

urlpatterns = [path("todos", views.todos), path("todos/<int:todo_id>", views.todo)]
