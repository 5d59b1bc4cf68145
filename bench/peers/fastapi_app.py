"""What bench/app answers, written for FastAPI."""
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

app = FastAPI()


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
