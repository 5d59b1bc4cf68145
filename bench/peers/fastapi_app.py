"""What bench/app answers, written for FastAPI."""
import os
import random

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

SQL = "SELECT id, randomnumber FROM world WHERE id = $1"

app = FastAPI()


@app.on_event("startup")
async def connect():
    if "DATABASE" in os.environ:
        import asyncpg

        app.state.pg = await asyncpg.create_pool(os.environ["DATABASE"], min_size=16, max_size=16)


@app.get("/plaintext", response_class=PlainTextResponse)
async def plaintext():
    return "Hello, World!"


@app.get("/json")
async def json():
    return {"message": "Hello, World!"}


@app.get("/user/{user_id}")
async def user(user_id: str, response: Response, q: str = ""):
    response.headers["X-User-Id"] = user_id
    return {"id": user_id, "q": q}


@app.post("/echo")
async def echo(request: Request):
    return JSONResponse(await request.json())


async def row(connection):
    found = await connection.fetchrow(SQL, random.randint(1, 10000))
    return {"id": found[0], "randomNumber": found[1]}


@app.get("/db")
async def db():
    async with app.state.pg.acquire() as connection:
        return await row(connection)


@app.get("/queries")
async def queries(n: int = 1):
    async with app.state.pg.acquire() as connection:
        return [await row(connection) for _ in range(n)]
